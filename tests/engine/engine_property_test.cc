// Random requests against the engine, from printed seeds: whatever arrives, is cancelled, preempted or late
// and shares a batch, each request gets the tokens it would get alone, and the store keeps its promises.
#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/engine_harness.h"

namespace longspan {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}
  int64_t Below(int64_t bound) { return static_cast<int64_t>(generator_() % static_cast<uint64_t>(bound)); }
  int64_t Between(int64_t least, int64_t most) { return least + Below(most - least + 1); }
  bool OneIn(int64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 generator_;
};

Request RandomRequest(Random& random, const EngineOptions& options, int64_t longest) {
  Request request;
  const int64_t total = random.Between(2, longest);
  const int64_t output = random.Between(1, std::max<int64_t>(1, total / 2));
  for (int64_t i = 0; i < total - output; ++i) {
    request.prompt.push_back(static_cast<int32_t>(random.Below(options.vocab_size)));
  }
  request.max_tokens = output;
  request.ignore_eos = random.OneIn(3);
  if (random.OneIn(4)) {
    request.prompt_logits = true;
    if (random.OneIn(2)) request.max_tokens = 0;
  }
  request.sampling.seed = static_cast<uint64_t>(random.Below(1000));
  if (random.OneIn(2)) {
    request.sampling.temperature = 1.2;
    request.sampling.top_k = random.Below(10);
    request.sampling.top_p = random.OneIn(2) ? 1 : 0.7;
    request.sampling.frequency_penalty = random.OneIn(2) ? 0 : 0.5;
  }
  if (random.OneIn(2)) request.priority = static_cast<int>(random.Between(-2, 2));
  return request;
}

EngineOptions RandomOptions(Random& random) {
  EngineOptions options;
  options.geometry.block_size = static_cast<int>(random.Between(1, 6));
  options.geometry.kvp = static_cast<int>(random.Between(1, 8));
  const int64_t groups = random.Between(1, 3);
  for (int64_t g = 0; g < groups; ++g) {
    options.geometry.groups.push_back({.window = random.OneIn(2) ? 0 : random.Between(1, 30),
                                       .pages_per_block = static_cast<int>(random.Between(1, 3))});
  }
  options.chunk_tokens = random.Between(1, 40);
  options.max_sequences = static_cast<int>(random.Between(1, 8));
  options.max_logit_rows = options.max_sequences + random.Below(6);
  options.max_context = 80;
  options.vocab_size = 40;
  options.eos_token_ids = {39};
  if (!random.OneIn(3)) options.itl_target_s = 0.01 * static_cast<double>(random.Below(4));
  options.max_overtaken_s = 0.1 * static_cast<double>(random.Below(3));
  // Tight: between one and a few of the longest sequences.
  const std::vector<int64_t> longest =
      KvDemand(options.geometry, {options.max_context, options.chunk_tokens}, 0);
  const int64_t most = *std::max_element(longest.begin(), longest.end());
  for (int k = 0; k < options.geometry.kvp; ++k) {
    options.geometry.pages_per_rank.push_back(most + random.Below(2 * most + 1));
  }
  return options;
}

struct Running {
  Request request;
  RecordingListener listener;
  RequestId id = 0;
  bool cancelled = false;
};

class RandomRun {
 public:
  explicit RandomRun(unsigned seed)
      : random_(seed),
        options_(RandomOptions(random_)),
        fake_(ExecutorOptions(options_)),
        executor_(&fake_, &clock_, [this](const StepBatch& batch) {
          return 0.0001 * static_cast<double>(random_.Between(90, 110) * (10 + batch.NumTokens()));
        }) {
    EngineOptions options = options_;
    options.clock = &clock_;
    engine_ = *Engine::Create(options, &executor_);
  }

  void Run() {
    const int64_t num_requests = random_.Between(5, 25);
    int64_t steps = 0;
    while (static_cast<int64_t>(requests_.size()) < num_requests || engine_->HasWork()) {
      // Every step moves one request at least, by one token or more. A request is preempted four times at
      // most, since each time raises it by one of the five priorities.
      ASSERT_LT(steps++, 5 * num_requests * options_.max_context) << "somebody starves";
      while (static_cast<int64_t>(requests_.size()) < num_requests && random_.OneIn(3)) Submit();
      if (!requests_.empty() && random_.OneIn(15)) Cancel();
      ASSERT_TRUE(engine_->Step().ok());
      ExpectWithinPromises(engine_->blocks());
      CheckSnapshot(engine_->Snapshot());
    }
    ExpectEmpty(engine_->blocks());
    preemptions += engine_->Snapshot().preemptions_total;
    for (const auto& request : requests_) CheckOutcome(*request);
  }
  static inline int64_t preemptions = 0, late = 0;  // in all runs

 private:
  void Submit() {
    auto running = std::make_unique<Running>();
    running->request = RandomRequest(random_, options_, options_.max_context);
    if (random_.OneIn(6)) {
      running->request.deadline = clock_.Now() + std::chrono::milliseconds(random_.Between(0, 2000));
    }
    const absl::StatusOr<RequestId> id = engine_->Submit(Copy(running->request), &running->listener);
    ASSERT_TRUE(id.ok()) << id.status();
    running->id = *id;
    requests_.push_back(std::move(running));
  }

  void Cancel() {
    Running& running = *requests_[static_cast<size_t>(random_.Below(static_cast<int64_t>(requests_.size())))];
    if (!running.listener.reason) running.cancelled = true;
    engine_->Cancel(running.id);
  }

  void CheckSnapshot(const EngineSnapshot& snapshot) {
    int64_t open = 0, outputs = 0;
    for (const auto& request : requests_) {
      if (!request->listener.reason) ++open;
      outputs += static_cast<int64_t>(request->listener.tokens.size());
    }
    EXPECT_EQ(snapshot.waiting + snapshot.prefilling + snapshot.decoding, open);
    EXPECT_EQ(snapshot.decode_tokens_total, outputs);
    for (const KvRankSnapshot& rank : snapshot.ranks) {
      int64_t pages = 0, owned = 0;
      for (const PageRun& run : rank.map) {
        pages += run.pages;
        if (run.owner != 0) owned += run.pages;
      }
      EXPECT_EQ(pages, rank.capacity);
      EXPECT_EQ(owned, rank.in_use);
      EXPECT_GE(rank.waste_ratio, -1e-9);
      EXPECT_LE(rank.waste_ratio, 1);
    }
  }

  void CheckOutcome(const Running& running) {
    const RecordingListener& listener = running.listener;
    ASSERT_TRUE(listener.reason);
    std::vector<int32_t> expected = ExpectedOutput(running.request, *running.request.sampling.seed,
                                                   *running.request.max_tokens, options_);
    const bool is_late = listener.reason == FinishReason::kDeadline;
    if (is_late) {
      EXPECT_TRUE(running.request.deadline);
      ++late;
    }
    if (running.cancelled || is_late) {
      EXPECT_TRUE(is_late || listener.reason == FinishReason::kCancelled);
      ASSERT_LE(listener.tokens.size(), expected.size());
      expected.resize(listener.tokens.size());
    } else {
      const bool at_eos = !expected.empty() && expected.back() == 39 && !running.request.ignore_eos;
      EXPECT_EQ(listener.reason, at_eos ? FinishReason::kStop : FinishReason::kLength);
      const auto prompt = static_cast<int64_t>(running.request.prompt.size());
      const int64_t first = running.request.prompt_logits ? 0 : prompt - 1;
      ASSERT_FALSE(listener.positions.empty());
      EXPECT_EQ(listener.positions.front(), first);
      EXPECT_EQ(listener.positions.back(),
                std::max(prompt - 1, prompt + static_cast<int64_t>(expected.size()) - 2));
    }
    EXPECT_EQ(listener.tokens, expected);
  }

  Random random_;
  ManualClock clock_;
  const EngineOptions options_;
  FakeExecutor fake_;
  TimedExecutor executor_;
  std::vector<std::unique_ptr<Running>> requests_;
  std::unique_ptr<Engine> engine_;
};

TEST(EnginePropertyTest, EachRequestGetsWhatItWouldGetAlone) {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun(seed).Run();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(RandomRun::preemptions, 100);
  EXPECT_GT(RandomRun::late, 20);
}

TEST(EnginePropertyTest, ALargeRequestIsNotOvertakenForEver) {
  EngineOptions options;
  options.geometry = {.block_size = 4, .kvp = 2, .groups = {{}}, .pages_per_rank = {10, 10}};
  options.chunk_tokens = 8;
  options.max_sequences = 8;
  options.max_context = 80;
  options.vocab_size = 40;
  FakeExecutor executor(ExecutorOptions(options));
  const auto engine = *Engine::Create(options, &executor);
  std::vector<std::unique_ptr<RecordingListener>> small;
  RecordingListener large;
  const auto submit_small = [&] {
    Request request;
    request.prompt = {1, 2, 3};
    request.max_tokens = 9;
    small.push_back(std::make_unique<RecordingListener>());
    ASSERT_TRUE(engine->Submit(std::move(request), small.back().get()).ok());
  };
  for (int i = 0; i < 10; ++i) submit_small();
  Request request;
  request.prompt.assign(70, 1);
  request.max_tokens = 10;
  ASSERT_TRUE(engine->Submit(std::move(request), &large).ok());
  for (int step = 0; step < 100 && !large.reason; ++step) {
    submit_small();
    ASSERT_TRUE(engine->Step().ok());
  }
  EXPECT_EQ(large.reason, FinishReason::kLength);
}

}  // namespace
}  // namespace longspan
