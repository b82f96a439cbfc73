// Who runs, who waits and who has to go: priorities, preemption, deadlines, bounds of the queue, snapshots.
#include <map>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/engine/engine_harness.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EngineQueueTest : public testing::Test {
 protected:
  static EngineOptions Options() {
    EngineOptions options;
    options.geometry = {.block_size = 4, .kvp = 2, .groups = {{}}, .pages_per_rank = {10, 10}};
    options.chunk_tokens = 8;
    options.max_sequences = 4;
    options.max_context = 80;
    options.vocab_size = 50;
    return options;
  }
  void Start(EngineOptions options) {
    options.clock = &clock_;
    options_ = options;
    fake_ = std::make_unique<FakeExecutor>(ExecutorOptions(options));
    executor_ = std::make_unique<TimedExecutor>(fake_.get(), &clock_, [](const StepBatch& batch) {
      return 0.01 + 0.001 * static_cast<double>(batch.NumTokens());
    });
    engine_ = *Engine::Create(options, executor_.get());
  }
  static Request Tokens(int64_t prompt, int64_t output, int priority = 0) {
    Request request;
    request.prompt.resize(static_cast<size_t>(prompt));
    std::iota(request.prompt.begin(), request.prompt.end(), 0);
    for (int32_t& token : request.prompt) token %= 50;
    request.max_tokens = output;
    request.priority = priority;
    return request;
  }
  RequestId Submit(const Request& request, RequestListener* listener) {
    const absl::StatusOr<RequestId> id = engine_->Submit(Copy(request), listener);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(-1);
  }
  void Step(int times = 1) {
    for (int i = 0; i < times; ++i) {
      ASSERT_TRUE(engine_->Step().ok());
      ExpectWithinPromises(engine_->blocks());
    }
  }
  void RunToTheEnd() {
    for (int step = 0; engine_->HasWork(); ++step) {
      ASSERT_LT(step, 1000) << "no end";
      Step();
    }
    ExpectEmpty(engine_->blocks());
  }

  ManualClock clock_;
  EngineOptions options_;
  std::unique_ptr<FakeExecutor> fake_;
  std::unique_ptr<TimedExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineQueueTest, ASmallRequestOvertakesALargeOneForABoundedTime) {
  EngineOptions options = Options();
  options.max_overtaken_s = 1;
  Start(options);
  std::vector<RecordingListener> small(3);
  RecordingListener large;
  Submit(Tokens(4, 30), &small[0]);
  Submit(Tokens(60, 20), &large);  // needs all there is
  Submit(Tokens(4, 4), &small[1]);
  Step();
  EXPECT_TRUE(small[0].started && small[1].started);
  EXPECT_FALSE(large.started);
  clock_.Advance(seconds(1));
  Submit(Tokens(4, 4), &small[2]);
  Step();
  EXPECT_FALSE(small[2].started);  // there is room for it
  RunToTheEnd();
  EXPECT_EQ(large.tokens.size(), 20u);
  EXPECT_EQ(small[2].tokens.size(), 4u);
}

TEST_F(EngineQueueTest, WithoutThatTimeNobodyOvertakes) {
  Start(Options());
  RecordingListener first, large, small;
  Submit(Tokens(4, 30), &first);
  Submit(Tokens(60, 20), &large);
  Submit(Tokens(4, 4), &small);
  Step();
  EXPECT_FALSE(small.started);
  RunToTheEnd();
  EXPECT_TRUE(small.started);
}

TEST_F(EngineQueueTest, AHigherPriorityStartsFirst) {
  EngineOptions options = Options();
  options.max_sequences = 1;
  Start(options);
  RecordingListener running, low, high;
  Submit(Tokens(4, 10, 1), &running);
  Step();
  Submit(Tokens(4, 4, 0), &low);
  Submit(Tokens(4, 4, 1), &high);
  while (!high.reason) Step();
  EXPECT_FALSE(low.started);
  RunToTheEnd();
  EXPECT_EQ(low.tokens.size(), 4u);
}

TEST_F(EngineQueueTest, APreemptedRequestLosesAndRepeatsNothing) {
  EngineOptions options = Options();
  Start(options);
  Request low = Tokens(30, 34);
  low.sampling.temperature = 1.3;
  low.sampling.repetition_penalty = 1.3;
  low.sampling.frequency_penalty = 0.4;
  low.sampling.seed = 9;
  Request with_logits = Tokens(6, 3);
  with_logits.prompt_logits = true;
  // Preempted while its prompt is computed, at its first token, later, and while it is computed again.
  for (const int steps : {1, 3, 4, 6, 17, 30}) {
    SCOPED_TRACE(steps);
    RecordingListener victim, logits, urgent;
    Submit(low, &victim);
    Submit(with_logits, &logits);
    Step(steps);
    Submit(Tokens(70, 10, 3), &urgent);
    Step(2);
    EXPECT_TRUE(urgent.started);
    EXPECT_EQ(engine_->Snapshot().waiting, logits.reason ? 1 : 2);
    while (!urgent.reason) Step();
    EXPECT_EQ(urgent.tokens, ExpectedOutput(Tokens(70, 10), 0, 10, options_));
    Step(2);
    RecordingListener again;
    Submit(Tokens(70, 10, 3), &again);
    RunToTheEnd();
    EXPECT_EQ(victim.tokens, ExpectedOutput(low, 9, 34, options_));
    EXPECT_EQ(victim.positions.size(), 34u);
    EXPECT_EQ(victim.reason, FinishReason::kLength);
    EXPECT_EQ(logits.tokens, ExpectedOutput(with_logits, 0, 3, options_));
    EXPECT_EQ(logits.positions.size(), 6u + 3u - 1u);
  }
  const EngineSnapshot snapshot = engine_->Snapshot();
  EXPECT_GE(snapshot.preemptions_total, 12);
  EXPECT_GT(snapshot.recomputed_tokens_total, 0);
}

TEST_F(EngineQueueTest, PreemptionTakesTheLeastAndLeavesEqualsAlone) {
  Start(Options());
  std::vector<RecordingListener> listeners(4);
  for (int i = 0; i < 4; ++i) Submit(Tokens(4, 10, i), &listeners[static_cast<size_t>(i)]);
  Step(5);
  RecordingListener equal, higher;
  Submit(Tokens(4, 2, 0), &equal);
  Submit(Tokens(4, 2, 1), &higher);
  Step();
  EXPECT_FALSE(equal.started);
  EXPECT_TRUE(higher.started);  // instead of the first, the only one below it
  EXPECT_EQ(engine_->Snapshot().preemptions_total, 1);
  EXPECT_EQ(engine_->Snapshot().waiting, 2);
  RunToTheEnd();
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(listeners[i].tokens.size(), 10u);
}

// Each preemption raises the victim, so a stream of urgent requests cannot hold it up for ever.
TEST_F(EngineQueueTest, NobodyIsPreemptedForEver) {
  EngineOptions options = Options();
  options.max_sequences = 1;
  Start(options);
  RecordingListener victim;
  Submit(Tokens(20, 20), &victim);
  std::vector<std::unique_ptr<RecordingListener>> urgent;
  for (int step = 0; step < 400 && !victim.reason; ++step) {
    if (step % 4 == 3) {
      urgent.push_back(std::make_unique<RecordingListener>());
      Submit(Tokens(4, 3, 5), urgent.back().get());
    }
    Step();
  }
  EXPECT_EQ(victim.tokens.size(), 20u);
  EXPECT_EQ(engine_->Snapshot().preemptions_total, 5);
}

TEST_F(EngineQueueTest, ADeadlineEndsWhoWaitsAndWhoRuns) {
  EngineOptions options = Options();
  options.max_sequences = 1;
  Start(options);
  RecordingListener running, waiting, patient;
  Request request = Tokens(4, 30);
  request.deadline = clock_.Now() + milliseconds(120);
  Submit(request, &running);
  request.deadline = clock_.Now() + milliseconds(60);
  Submit(request, &waiting);
  request.deadline = clock_.Now() + seconds(20);
  Submit(request, &patient);
  Step(6);  // 14 ms, then 11 each
  EXPECT_FALSE(waiting.reason);
  Step();
  EXPECT_EQ(waiting.reason, FinishReason::kDeadline);
  EXPECT_FALSE(running.reason);
  Step(4);
  EXPECT_FALSE(running.reason);
  Step();
  EXPECT_EQ(running.reason, FinishReason::kDeadline);
  EXPECT_EQ(running.tokens.size(), 11u);
  EXPECT_TRUE(patient.started);  // in the place that came free
  RunToTheEnd();
  EXPECT_EQ(patient.reason, FinishReason::kLength);
}

TEST_F(EngineQueueTest, TheQueueIsBoundedInTokensToo) {
  EngineOptions options = Options();
  options.max_sequences = 1;
  options.max_waiting_tokens = 20;
  Start(options);
  RecordingListener running, waiting, refused;
  Submit(Tokens(30, 40), &running);  // longer than the bound, but alone
  Step(20);
  Submit(Tokens(15, 4), &waiting);
  const absl::Status full = engine_->Submit(Tokens(6, 4), &refused).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(),
            "the queue is full with prompts of 15 tokens and takes 20; this one has 6: try again later");
  while (!engine_->Submit(Tokens(6, 4), &refused).ok()) Step();
  RunToTheEnd();
}

TEST_F(EngineQueueTest, ASnapshotTellsWhoHoldsWhat) {
  EngineOptions options = Options();
  options.geometry.groups = {{.window = 6, .pages_per_block = 2}, {}};
  options.geometry.pages_per_rank = {30, 30};
  options.max_sequences = 2;
  Start(options);
  EngineSnapshot snapshot = engine_->Snapshot();
  ASSERT_EQ(snapshot.ranks.size(), 2u);
  EXPECT_EQ(snapshot.ranks[0].waste_ratio, 0);
  ASSERT_EQ(snapshot.ranks[0].map.size(), 1u);
  EXPECT_EQ(snapshot.ranks[0].map[0].owner, 0);

  RecordingListener decoding, prefilling, waiting;
  const RequestId first = Submit(Tokens(7, 10), &decoding);
  Step();
  const RequestId second = Submit(Tokens(20, 8, 2), &prefilling);
  Submit(Tokens(5, 5), &waiting);
  Step();
  snapshot = engine_->Snapshot();
  EXPECT_EQ(snapshot.steps, 2);
  EXPECT_EQ(snapshot.waiting, 1);
  EXPECT_EQ(snapshot.waiting_prompt_tokens, 5);
  EXPECT_EQ(snapshot.decoding, 1);
  EXPECT_EQ(snapshot.prefilling, 1);
  EXPECT_EQ(snapshot.prefill_tokens_left, 12);
  EXPECT_EQ(snapshot.prefill_tokens_total, 15);
  EXPECT_EQ(snapshot.decode_tokens_total, 2);
  EXPECT_NEAR(snapshot.prefill_seconds_total + snapshot.decode_seconds_total, 0.017 + 0.019, 1e-9);
  EXPECT_GE(snapshot.prefill_seconds_total, 0.017);
  EXPECT_NEAR(snapshot.decode_step_s, 0.019, 1e-9);
  EXPECT_NEAR(snapshot.prefill_tokens_per_s, 15 / 0.036, 15);
  ASSERT_EQ(snapshot.sequences.size(), 2u);
  EXPECT_EQ(snapshot.sequences[0].id, first);
  EXPECT_TRUE(snapshot.sequences[0].decoding);
  EXPECT_EQ(snapshot.sequences[0].computed_tokens, 8);
  EXPECT_EQ(snapshot.sequences[0].output_tokens, 2);
  EXPECT_EQ(snapshot.sequences[1].priority, 2);
  EXPECT_EQ(snapshot.sequences[1].max_tokens, 8);

  // Both hold two full blocks of each layer group, one a rank: all of what they hold is filled.
  for (int rank = 0; rank < 2; ++rank) {
    const KvRankSnapshot& kv = snapshot.ranks[static_cast<size_t>(rank)];
    EXPECT_EQ(kv.in_use, 6);
    EXPECT_EQ(kv.in_use, engine_->blocks().in_use(rank));
    EXPECT_EQ(kv.reserved, engine_->blocks().reservations().reserved(rank));
    EXPECT_DOUBLE_EQ(kv.waste_ratio, 1 - 6.0 / static_cast<double>(kv.reserved));
    std::map<RequestId, int64_t> pages;
    for (const PageRun& run : kv.map) pages[run.owner] += run.pages;
    EXPECT_EQ(pages, (std::map<RequestId, int64_t>{{0, 24}, {first, 3}, {second, 3}}));
    int64_t reserved = 0;
    for (const SequenceSnapshot& sequence : snapshot.sequences) {
      EXPECT_EQ(sequence.pages_in_use[static_cast<size_t>(rank)], 3);
      reserved += sequence.pages_reserved[static_cast<size_t>(rank)];
    }
    EXPECT_EQ(reserved, kv.reserved);
  }
  // The next token opens a block: a quarter of its three pages is filled.
  Step();
  const KvRankSnapshot kv = engine_->Snapshot().ranks[0];
  EXPECT_GT(kv.waste_ratio, 1 - static_cast<double>(kv.in_use) / static_cast<double>(kv.reserved));
  RunToTheEnd();
}

}  // namespace
}  // namespace longspan
