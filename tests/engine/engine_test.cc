#include "runtime/engine/engine.h"

#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/engine_harness.h"

namespace longspan {
namespace {

EngineOptions Options() {
  EngineOptions options;
  options.geometry = {.block_size = 4,
                      .kvp = 2,
                      .groups = {{.window = 6, .pages_per_block = 2}, {}},
                      .pages_per_rank = {100, 100}};
  options.chunk_tokens = 8;
  options.max_sequences = 4;
  options.max_waiting = 6;
  options.max_context = 64;
  options.default_max_tokens = 10;
  options.vocab_size = 50;
  options.max_logit_rows = 6;
  options.eos_token_ids = {48, 49};
  return options;
}

Request Prompt(std::vector<int32_t> prompt, std::optional<int64_t> max_tokens = std::nullopt) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

class EngineTest : public testing::Test {
 protected:
  void Start(EngineOptions options) { Start(options, ExecutorOptions(options)); }
  void Start(EngineOptions options, FakeExecutor::Options executor_options) {
    options_ = options;
    executor_ = std::make_unique<FakeExecutor>(std::move(executor_options));
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(std::move(options), executor_.get());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  RequestId Submit(Request request, RequestListener* listener) {
    const absl::StatusOr<RequestId> id = engine_->Submit(std::move(request), listener);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(-1);
  }
  void RunToTheEnd() {
    for (int step = 0; engine_->HasWork(); ++step) {
      ASSERT_LT(step, 1000) << "no end";
      ASSERT_TRUE(engine_->Step().ok());
      ExpectWithinPromises(engine_->blocks());
    }
    ExpectEmpty(engine_->blocks());
  }

  EngineOptions options_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, GeneratesWhatTheModelSays) {
  Start(Options());
  const Request request = Prompt({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 20);
  RecordingListener listener;
  Submit(request, &listener);
  RunToTheEnd();
  EXPECT_EQ(listener.tokens, ExpectedOutput(request, 0, 20, options_));
  // The token at position p comes with the logits of position p - 1.
  ASSERT_EQ(listener.positions.size(), listener.tokens.size());
  EXPECT_EQ(listener.positions.front(), 10);
  std::vector<int32_t> seen = request.prompt;
  seen.insert(seen.end(), listener.tokens.begin(), listener.tokens.end() - 1);
  EXPECT_EQ(listener.last_logits, ToyLogits(seen, options_.vocab_size));
  // Two chunks of prompt, then a step for each further token: the last one is not fed back.
  EXPECT_EQ(engine_->steps(), 2 + static_cast<int64_t>(listener.tokens.size()) - 1);
  EXPECT_FALSE(engine_->HasWork());
  EXPECT_TRUE(engine_->Step().ok());
  EXPECT_EQ(executor_->steps(), engine_->steps());
}

TEST_F(EngineTest, EndsForTheRightReason) {
  EngineOptions options = Options();
  options.eos_token_ids = {};
  Start(options);
  RecordingListener by_length;
  Submit(Prompt({1, 2}, 9), &by_length);
  RecordingListener by_default;
  Submit(Prompt({1, 2}), &by_default);
  RecordingListener by_listener;
  by_listener.stop_after = 3;
  Submit(Prompt({1, 2}, 9), &by_listener);
  RunToTheEnd();
  EXPECT_EQ(by_length.tokens.size(), 9u);
  EXPECT_EQ(by_length.reason, FinishReason::kLength);
  EXPECT_EQ(by_default.tokens.size(), 10u);
  EXPECT_EQ(by_listener.tokens.size(), 3u);
  EXPECT_EQ(by_listener.reason, FinishReason::kStop);

  // With one of these tokens as end of sequence the output ends there, and includes it.
  options.eos_token_ids = {by_length.tokens[4]};
  size_t first = 0;
  while (by_length.tokens[first] != options.eos_token_ids[0]) ++first;
  Start(options);
  RecordingListener by_eos;
  Submit(Prompt({1, 2}, 9), &by_eos);
  Request ignoring = Prompt({1, 2}, 9);
  ignoring.ignore_eos = true;
  RecordingListener ignores_eos;
  Submit(ignoring, &ignores_eos);
  RunToTheEnd();
  EXPECT_EQ(by_eos.tokens.size(), first + 1);
  EXPECT_EQ(by_eos.reason, FinishReason::kStop);
  EXPECT_EQ(ignores_eos.tokens, by_length.tokens);
  EXPECT_EQ(ignores_eos.reason, FinishReason::kLength);
}

TEST_F(EngineTest, PromptLogitsComeForEveryPositionOnce) {
  Start(Options());
  Request request = Prompt({9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4}, 0);
  request.prompt_logits = true;
  RecordingListener only_prompt;
  Submit(request, &only_prompt);
  request.max_tokens = 3;
  RecordingListener with_output;
  Submit(request, &with_output);
  RunToTheEnd();
  ASSERT_EQ(only_prompt.positions.size(), 14u);
  EXPECT_EQ(only_prompt.positions.front(), 0);
  EXPECT_EQ(only_prompt.last_logits, ToyLogits(request.prompt, options_.vocab_size));
  EXPECT_TRUE(only_prompt.tokens.empty());
  EXPECT_EQ(only_prompt.reason, FinishReason::kLength);
  EXPECT_EQ(with_output.tokens, ExpectedOutput(request, 0, 3, options_));
  EXPECT_EQ(with_output.positions.size(), 14 + with_output.tokens.size() - 1);
}

TEST_F(EngineTest, ARequestKeepsTheSeedItWasGiven) {
  EngineOptions options = Options();
  options.seed = 77;
  options.eos_token_ids = {};
  Start(options);
  Request request = Prompt({3, 1, 4}, 12);
  request.sampling.temperature = 1.5;
  std::vector<RecordingListener> listeners(3);
  std::vector<RequestId> ids;
  for (RecordingListener& listener : listeners) ids.push_back(Submit(request, &listener));
  request.sampling.seed = 5;
  RecordingListener seeded;
  Submit(request, &seeded);
  RunToTheEnd();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(listeners[i].tokens, ExpectedOutput(request, DeriveSeed(77, ids[i]), 12, options));
  }
  EXPECT_NE(listeners[0].tokens, listeners[1].tokens);
  EXPECT_EQ(seeded.tokens, ExpectedOutput(request, 5, 12, options));
}

TEST_F(EngineTest, ALongPromptDoesNotHoldUpTheOthers) {
  Start(Options());
  RecordingListener decoding;
  Request request = Prompt({1, 2, 3}, 30);
  request.ignore_eos = true;
  Submit(request, &decoding);
  ASSERT_TRUE(engine_->Step().ok());
  RecordingListener prefilling;
  Submit(Prompt(std::vector<int32_t>(60, 7), 1), &prefilling);
  for (size_t step = 0; step < 7; ++step) {
    ASSERT_TRUE(engine_->Step().ok());
    EXPECT_EQ(decoding.tokens.size(), step + 2);
    EXPECT_TRUE(prefilling.tokens.empty());
  }
  EXPECT_EQ(executor_->most_tokens(), 8 + 1);
  RunToTheEnd();
  EXPECT_EQ(prefilling.tokens.size(), 1u);
}

TEST_F(EngineTest, CancellingFreesEverythingAtOnce) {
  Start(Options());
  std::vector<RecordingListener> listeners(6);
  std::vector<RequestId> ids;
  for (RecordingListener& listener : listeners) ids.push_back(Submit(Prompt({5, 6, 7}, 40), &listener));
  ASSERT_TRUE(engine_->Step().ok());
  engine_->Cancel(ids[5]);  // still waits: there are four slots
  EXPECT_EQ(listeners[5].reason, FinishReason::kCancelled);
  engine_->Cancel(ids[0]);
  EXPECT_EQ(listeners[0].reason, FinishReason::kCancelled);
  engine_->Cancel(ids[0]);
  engine_->Cancel(12345);
  ASSERT_TRUE(engine_->Step().ok());
  EXPECT_EQ(listeners[4].tokens.size(), 1u);  // took the free slot
  for (const RequestId id : ids) engine_->Cancel(id);
  EXPECT_FALSE(engine_->HasWork());
  ExpectEmpty(engine_->blocks());
}

class CallbackListener : public RecordingListener {
 public:
  bool OnToken(int32_t token) override {
    const bool goes_on = RecordingListener::OnToken(token);
    if (on_token) on_token();
    return goes_on;
  }
  void OnFinish(FinishReason finish_reason) override {
    RecordingListener::OnFinish(finish_reason);
    if (on_finish) on_finish();
  }
  std::function<void()> on_token;
  std::function<void()> on_finish;
};

TEST_F(EngineTest, ListenersMayCancelAndSubmit) {
  EngineOptions options = Options();
  options.eos_token_ids = {};
  Start(options);
  CallbackListener cancels_itself;
  CallbackListener cancels_the_next;
  RecordingListener next;
  RecordingListener successor;
  const RequestId first = Submit(Prompt({1}, 2), &cancels_itself);  // cancelled when it would end anyway
  Submit(Prompt({2}, 4), &cancels_the_next);
  const RequestId last = Submit(Prompt({3}, 30), &next);
  cancels_itself.on_token = [&] {
    if (cancels_itself.tokens.size() == 2) engine_->Cancel(first);
  };
  cancels_the_next.on_token = [&] { engine_->Cancel(last); };
  cancels_the_next.on_finish = [&] { Submit(Prompt({4}, 5), &successor); };
  RunToTheEnd();
  EXPECT_EQ(cancels_itself.tokens.size(), 2u);
  EXPECT_EQ(cancels_itself.reason, FinishReason::kCancelled);
  EXPECT_TRUE(next.tokens.empty());
  EXPECT_EQ(next.reason, FinishReason::kCancelled);
  EXPECT_EQ(successor.tokens.size(), 5u);
  EXPECT_EQ(successor.reason, FinishReason::kLength);
}

TEST_F(EngineTest, RefusesWhatCannotRunAndWhatTheQueueCannotTake) {
  EngineOptions options = Options();
  options.geometry.pages_per_rank = {9, 9};
  Start(options);
  RecordingListener listener;
  const absl::Status too_long = engine_->Submit(Prompt(std::vector<int32_t>(30, 1), 20), &listener).status();
  EXPECT_EQ(too_long.code(), absl::StatusCode::kInvalidArgument);
  // A window of 6 with chunks of 8 needs 4 blocks of 2 pages, 4 pages on each rank. Full attention has the
  // other 5.
  EXPECT_NE(too_long.message().find("limit of 40 tokens"), absl::string_view::npos) << too_long;
  std::vector<RecordingListener> waiting(6);
  for (RecordingListener& each : waiting) Submit(Prompt({1}, 4), &each);
  const absl::Status full = engine_->Submit(Prompt({1}, 4), &listener).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "the queue is full with 6 requests: try again later");
  RunToTheEnd();
  EXPECT_FALSE(listener.reason);
}

TEST_F(EngineTest, AFaultEndsEveryRequestAndTheEngine) {
  EngineOptions options = Options();
  FakeExecutor::Options executor_options = ExecutorOptions(options);
  executor_options.fails_at_step = 2;
  Start(options, executor_options);
  std::vector<CallbackListener> listeners(5);
  std::vector<RequestId> ids;
  for (RecordingListener& listener : listeners) ids.push_back(Submit(Prompt({1, 2}, 20), &listener));
  listeners[0].on_finish = [&] { engine_->Cancel(ids[1]); };
  ASSERT_TRUE(engine_->Step().ok());
  ASSERT_TRUE(engine_->Step().ok());
  EXPECT_EQ(engine_->Step().message(), "rank 1 is gone");
  for (size_t i = 0; i < listeners.size(); ++i) {
    EXPECT_EQ(listeners[i].reason, i == 1 ? FinishReason::kCancelled : FinishReason::kError) << i;
  }
  EXPECT_FALSE(engine_->HasWork());
  ExpectEmpty(engine_->blocks());
  EXPECT_EQ(engine_->Step().message(), "rank 1 is gone");
  EXPECT_EQ(engine_->Submit(Prompt({1}, 1), &listeners[0]).status().message(), "rank 1 is gone");
}

TEST_F(EngineTest, LogitsOfNaNEndTheirRequestAlone) {
  EngineOptions options = Options();
  options.eos_token_ids = {};
  FakeExecutor::Options executor_options = ExecutorOptions(options);
  executor_options.nan_after = 13;
  Start(options, executor_options);
  RecordingListener poisoned;
  Submit(Prompt({1, 13}, 8), &poisoned);
  const Request request = Prompt({1, 2}, 1);
  RecordingListener healthy;
  Submit(request, &healthy);
  RunToTheEnd();
  EXPECT_EQ(poisoned.reason, FinishReason::kError);
  EXPECT_TRUE(poisoned.tokens.empty());
  EXPECT_EQ(healthy.reason, FinishReason::kLength);
  EXPECT_EQ(healthy.tokens, ExpectedOutput(request, 0, 1, options));
}

TEST_F(EngineTest, RefusesOptionsThatMakeNoSense) {
  const auto message = [](auto change) {
    EngineOptions options = Options();
    change(options);
    return std::string(Engine::Create(options, nullptr).status().message());
  };
  EXPECT_EQ(message([](EngineOptions& o) { o.chunk_tokens = 0; }),
            "engine: chunk_tokens is 0; use at least 1");
  EXPECT_EQ(message([](EngineOptions& o) { o.max_context = 0; }), "engine: max_context is 0; use at least 1");
  EXPECT_EQ(message([](EngineOptions& o) { o.max_logit_rows = 3; }),
            "engine: max_logit_rows is 3; use at least 4");
  EXPECT_EQ(message([](EngineOptions& o) { o.itl_target_s = -1; }),
            "engine: itl_target_s is -1; use at least 0");
  EXPECT_NE(message([](EngineOptions& o) { o.vocab_size = int64_t{1} << 20; }).find("vocabulary of 1048576"),
            std::string::npos);
  EXPECT_NE(message([](EngineOptions& o) { o.geometry.kvp = 3; }).find("2 ranks for a kvp width of 3"),
            std::string::npos);
}

TEST(FinishReasonTest, HasNames) {
  EXPECT_EQ(Name(FinishReason::kStop), "stop");
  EXPECT_EQ(Name(FinishReason::kLength), "length");
  EXPECT_EQ(Name(FinishReason::kCancelled), "cancelled");
  EXPECT_EQ(Name(FinishReason::kDeadline), "deadline");
  EXPECT_EQ(Name(FinishReason::kError), "error");
}

}  // namespace
}  // namespace longspan
