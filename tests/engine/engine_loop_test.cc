#include "runtime/engine/engine_loop.h"

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "gtest/gtest.h"
#include "tests/engine/engine_harness.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

EngineOptions Options() {
  EngineOptions options;
  options.geometry = {.block_size = 4, .kvp = 2, .groups = {{}}, .pages_per_rank = {100, 100}};
  options.chunk_tokens = 8;
  options.max_sequences = 4;
  options.max_waiting = 100;
  options.max_context = 64;
  options.default_max_tokens = 10;
  options.vocab_size = 50;
  options.max_logit_rows = 6;
  options.eos_token_ids = {48, 49};
  return options;
}

Request Prompt(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

class Listener final : public ResponseListener {
 public:
  bool OnToken(const GeneratedToken& token) override {
    tokens.push_back(token.id);
    return true;
  }
  void OnFinish(FinishReason why) override {
    reason = why;
    ++ends;
  }
  void OnError(const absl::Status& status) override {
    refusal = status;
    ++ends;
  }

  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kError;
  absl::Status refusal;
  std::atomic<int> ends = 0;
};

class EngineLoopTest : public testing::Test {
 protected:
  void Start(EngineOptions options, int64_t max_open, std::optional<int64_t> fails_at_step = std::nullopt) {
    FakeExecutor::Options executor = ExecutorOptions(options);
    executor.fails_at_step = fails_at_step;
    executor_ = std::make_unique<FakeExecutor>(std::move(executor));
    engine_ = *Engine::Create(std::move(options), executor_.get());
    loop_ = std::make_unique<EngineLoop>(*engine_, max_open, clock_);
    thread_ = std::thread([this] { ended_ = loop_->Run([] {}); });
  }
  absl::Status End() {
    loop_->Drain(seconds(20));
    thread_.join();
    return ended_;
  }
  ~EngineLoopTest() override {
    if (thread_.joinable()) End().IgnoreError();
  }

  const SteadyClock clock_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<EngineLoop> loop_;
  std::thread thread_;
  absl::Status ended_;
};

TEST_F(EngineLoopTest, ThreadsSubmitAndCancelAtOnce) {
  Start(Options(), 1000);
  std::vector<std::vector<std::shared_ptr<Listener>>> listeners(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < listeners.size(); ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      for (int i = 0; i < 20; ++i) {
        listeners[t].push_back(std::make_shared<Listener>());
        const auto ticket = loop_->Submit(Prompt({1, 2, static_cast<int32_t>(t)}, 20), listeners[t].back());
        ASSERT_TRUE(ticket.ok()) << ticket.status();
        if (random() % 3 == 0) loop_->Cancel(*ticket);
        if (random() % 7 == 0) loop_->Cancel(*ticket + 1000000);
        EXPECT_NE(loop_->snapshot(), nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(End().ok());
  for (const auto& of_thread : listeners) {
    for (const auto& listener : of_thread) {
      EXPECT_EQ(listener->ends, 1);
      if (listener->reason == FinishReason::kLength) {
        EXPECT_EQ(listener->tokens.size(), 20);
      } else {
        EXPECT_EQ(listener->reason, FinishReason::kCancelled);
      }
    }
  }
  EXPECT_EQ(loop_->open(), 0);
  ExpectEmpty(engine_->blocks());
}

TEST_F(EngineLoopTest, MoreThanItMayHoldIsRefusedAtOnce) {
  EngineOptions options = Options();
  options.max_waiting = 1;
  options.max_sequences = 1;
  Start(options, 3);
  std::vector<std::shared_ptr<Listener>> listeners;
  int refused = 0;
  for (int i = 0; i < 50; ++i) {
    listeners.push_back(std::make_shared<Listener>());
    const auto ticket = loop_->Submit(Prompt({1, 2, 3}, 40), listeners.back());
    if (!ticket.ok()) {
      EXPECT_EQ(ticket.status().code(), absl::StatusCode::kResourceExhausted);
      listeners.pop_back();
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  ASSERT_TRUE(End().ok());
  for (const auto& listener : listeners) EXPECT_EQ(listener->ends, 1);
}

TEST_F(EngineLoopTest, DrainingTakesNoMoreAndIsBounded) {
  EngineOptions options = Options();
  options.max_context = 100000;
  options.geometry.pages_per_rank = {100000, 100000};
  Start(options, 10);
  const auto listener = std::make_shared<Listener>();
  ASSERT_TRUE(loop_->Submit(Prompt({1, 2, 3}, 90000), listener).ok());
  loop_->Drain(milliseconds(1));
  EXPECT_EQ(loop_->Submit(Prompt({1}, 1), std::make_shared<Listener>()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(End().ok());
  EXPECT_EQ(listener->ends, 1);
  EXPECT_EQ(listener->reason, FinishReason::kCancelled);
}

TEST_F(EngineLoopTest, AFailedStepEndsAll) {
  Start(Options(), 10, /*fails_at_step=*/3);
  std::vector<std::shared_ptr<Listener>> listeners;
  for (int i = 0; i < 4; ++i) {
    listeners.push_back(std::make_shared<Listener>());
    if (!loop_->Submit(Prompt({1, 2, 3}, 40), listeners.back()).ok()) listeners.pop_back();
  }
  thread_.join();
  EXPECT_FALSE(ended_.ok());
  ASSERT_FALSE(listeners.empty());
  for (const auto& listener : listeners) EXPECT_EQ(listener->ends, 1);
  EXPECT_EQ(loop_->Submit(Prompt({1}, 1), std::make_shared<Listener>()).status(), ended_);
}

}  // namespace
}  // namespace longspan
