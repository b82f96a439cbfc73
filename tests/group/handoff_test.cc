// KV of requests moves from one group to another, of any layout, while the prompt is still computed; what
// comes out is what one process computes.
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "comm/clock.h"
#include "comm/faulty_transport.h"
#include "comm/in_process_transport.h"
#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "gtest/gtest.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "runtime/coordinator/local_group.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/engine_loop.h"
#include "tests/group/goldens.h"
#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

constexpr int64_t kChunkTokens = 64;

// A group whose ranks are threads, at work until it is destroyed.
class RunningGroup {
 public:
  RunningGroup(const std::string& model, RankGrid grid, CreateTransport create_transport)
      : source_(*ModelSource::Open(model)), grid_(grid), create_transport_(std::move(create_transport)) {
    auto bootstraps =
        std::make_shared<std::vector<std::unique_ptr<Bootstrap>>>(CreateThreadBootstraps(grid.ranks()));
    auto communicators =
        std::make_shared<std::vector<std::unique_ptr<Communicator>>>(CreateThreadCommunicators(grid.ranks()));
    for (int rank = 0; rank < grid.ranks(); ++rank) {
      ranks_.emplace_back([this, rank, bootstraps, communicators] {
        const auto r = static_cast<size_t>(rank);
        RunRank(*(*bootstraps)[r], std::move((*communicators)[r]));
      });
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return loop_ != nullptr; });
  }
  ~RunningGroup() {
    loop_->Drain(Clock::Duration::zero());
    for (std::thread& rank : ranks_) rank.join();
  }

  RankGrid grid() const { return grid_; }
  LocalGroup& link() { return *link_; }
  const std::vector<std::string>& addresses() const { return addresses_; }
  EngineSnapshot snapshot() const { return *loop_->snapshot(); }

 private:
  void RunRank(Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator) {
    const auto backend =
        *CreateCpuBackend({.threads = 1, .isa = DetectIsa(), .activation = ActivationDType::kF32});
    GroupOptions options;
    options.tp = grid_.tp;
    options.kvp = grid_.kvp;
    options.numerics.block_size = 16;
    options.numerics.kv_dtype = DType::kBF16;
    options.numerics.activation = ActivationDType::kF32;
    options.numerics.isa = DetectIsa();
    options.numerics.ways = ReductionWays(grid_.ranks());
    options.kv_bytes = uint64_t{16} << 20;
    options.max_sequences = 16;
    options.max_batch_tokens = kChunkTokens + options.max_sequences;
    options.create_transport = create_transport_;
    const auto group = *Group::Create(*source_, bootstrap, std::move(communicator), *backend, options);
    if (bootstrap.rank() != 0) {
      LONGSPAN_CHECK(group->Serve().ok());
      return;
    }
    EngineOptions engine_options;
    engine_options.geometry = group->geometry();
    engine_options.kv_heads = source_->config().num_kv_heads;
    engine_options.chunk_tokens = kChunkTokens;
    engine_options.max_sequences = 16;
    engine_options.max_context = group->options().max_context;
    engine_options.vocab_size = source_->config().vocab_size;
    engine_options.max_logit_rows = group->options().max_logit_rows;
    engine_options.eos_token_ids = source_->config().eos_token_ids;
    const auto engine = *Engine::Create(engine_options, group.get());
    EngineLoop loop(*engine, 64, clock_);
    group->SetOnKvArrival(
        [&loop](const HandoffId& id, const KvArrival& arrival) { loop.KvArrived(id, arrival); });
    LocalGroup link(loop, [](const std::string&) { return absl::UnimplementedError("no grammars here"); });
    {
      const std::lock_guard lock(mutex_);
      addresses_ = group->Report()->transport_addresses;
      link_ = &link;
      loop_ = &loop;
    }
    changed_.notify_all();
    LONGSPAN_CHECK(loop.Run([] {}).ok());
    LONGSPAN_CHECK(group->Shutdown().ok());
  }

  const std::unique_ptr<ModelSource> source_;
  const RankGrid grid_;
  const CreateTransport create_transport_;
  const SteadyClock clock_;
  std::vector<std::thread> ranks_;

  std::mutex mutex_;
  std::condition_variable changed_;
  EngineLoop* loop_ = nullptr;
  LocalGroup* link_ = nullptr;
  std::vector<std::string> addresses_;
};

// What is heard of one run; everything may be waited for.
class Heard final : public ResponseListener {
 public:
  std::function<void()> on_ready;
  std::function<void(int32_t token)> on_token;
  std::function<void()> on_arrived;

  bool OnToken(const GeneratedToken& token) override {
    Note([&] { tokens_.push_back(token.id); });
    if (on_token) on_token(token.id);
    return true;
  }
  void OnReadyForKv() override {
    if (on_ready) on_ready();
  }
  void OnKvArrived(const KvArrival& arrival) override {
    Note([&] { arrival_ = arrival; });
    if (on_arrived) on_arrived();
  }
  void OnFinish(FinishReason reason) override {
    Note([&] { end_ = reason; });
  }
  void OnError(const absl::Status& error) override {
    ADD_FAILURE() << error;
    Note([&] { end_ = FinishReason::kError; });
  }

  FinishReason WaitForEnd() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }
  std::vector<int32_t> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::optional<KvArrival> arrival() {
    const std::lock_guard lock(mutex_);
    return arrival_;
  }

 private:
  template <typename Change>
  void Note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> tokens_;
  std::optional<KvArrival> arrival_;
  std::optional<FinishReason> end_;
};

Request MakeRequest(const std::vector<int32_t>& prompt, int64_t max_tokens, uint64_t seed) {
  Request request;
  request.prompt = prompt;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = seed % 2 == 0 ? 0 : 0.9;
  request.sampling.seed = seed;
  request.shift = 0;
  return request;
}

std::vector<int32_t> Prompt(int64_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < length; ++i) prompt.push_back(static_cast<int32_t>(3 + random() % 300));
  return prompt;
}

RunId NextRun() {
  static std::atomic<RunId> next = 1;
  return next++;
}

struct HandoffCase {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 24;
  uint64_t seed = 0;
  int source_shift = 0, destination_shift = 0;
};

struct HandoffResult {
  std::vector<int32_t> tokens;  // the first from the source
  FinishReason end = FinishReason::kError;
  std::optional<KvArrival> arrival;
};

// One request: prompt at the source, the rest at the destination.
class Handoff {
 public:
  Handoff(RunningGroup& source, RunningGroup& destination, const HandoffCase& handoff)
      : source_(source), destination_(destination), there_(NextRun()), here_(NextRun()) {
    std::mt19937_64 random(handoff.seed);
    HandoffId id;
    for (size_t i = 0; i < id.token.size(); ++i) id.token[i] = static_cast<std::byte>(random());
    const uint64_t unique = static_cast<uint64_t>(there_);
    std::memcpy(id.token.data(), &unique, sizeof unique);
    id.epoch = unique;

    Request receives = MakeRequest(handoff.prompt, handoff.max_tokens, handoff.seed);
    receives.shift = handoff.destination_shift % destination.grid().kvp;
    Request sends = Copy(receives);
    sends.shift = handoff.source_shift % source.grid().kvp;
    receives.receives_from = KvPeer{id, source.grid(), *sends.shift, source.addresses()};
    sends.sends_to = KvPeer{id, destination.grid(), *receives.shift, destination.addresses()};
    auto shared_sends = std::make_shared<Request>(std::move(sends));
    heard_there_ = std::make_shared<Heard>();
    heard_here_ = std::make_shared<Heard>();
    heard_here_->on_ready = [this, shared_sends] {
      source_.link().Start(there_, std::move(*shared_sends), heard_there_);
    };
    heard_there_->on_token = [this](int32_t token) { destination_.link().Continue(here_, token); };
    heard_here_->on_arrived = [this] { source_.link().Cancel(there_); };
    destination_.link().Start(here_, std::move(receives), heard_here_);
  }

  HandoffResult Wait() {
    HandoffResult result;
    result.end = heard_here_->WaitForEnd();
    heard_there_->WaitForEnd();
    result.tokens = heard_there_->tokens();
    const std::vector<int32_t> rest = heard_here_->tokens();
    result.tokens.insert(result.tokens.end(), rest.begin(), rest.end());
    result.arrival = heard_here_->arrival();
    return result;
  }

 private:
  RunningGroup &source_, &destination_;
  const RunId there_, here_;
  std::shared_ptr<Heard> heard_there_, heard_here_;
};

std::vector<int32_t> Alone(const std::string& model, const HandoffCase& handoff) {
  const Request request = [&] {
    Request made = MakeRequest(handoff.prompt, handoff.max_tokens, handoff.seed);
    made.shift.reset();
    return made;
  }();
  LocalGroupOptions options;
  options.block_size = 16;
  options.kv_dtype = DType::kBF16;
  options.chunk_tokens = kChunkTokens;
  options.kv_bytes = uint64_t{16} << 20;
  return RunLocalGroup(model, {&request, 1}, options).results[0].tokens;
}

void ExpectAllFree(const RunningGroup& group) {
  for (const KvRankSnapshot& rank : group.snapshot().ranks) {
    EXPECT_EQ(rank.reserved, 0);
    EXPECT_EQ(rank.in_use, 0);
  }
}

CreateTransport InProcess(const std::shared_ptr<InProcessNetwork>& network) {
  return [network] { return network->CreateTransport({}); };
}

TEST(HandoffTest, AnyLayoutToAnyOther) {
  const std::string model = FindGolden("llama3-gqa").model_path;
  const std::vector<HandoffCase> cases = {
      {.prompt = Prompt(200, 1), .seed = 0, .source_shift = 1, .destination_shift = 2},
      {.prompt = Prompt(64, 2), .seed = 1},
      {.prompt = Prompt(1, 3), .seed = 2},
      {.prompt = Prompt(97, 4), .seed = 3, .destination_shift = 3}};
  std::vector<std::vector<int32_t>> expected;
  for (const HandoffCase& handoff : cases) expected.push_back(Alone(model, handoff));
  const auto network = CreateInProcessNetwork();
  for (const auto& [source_grid, destination_grid] : {std::pair<RankGrid, RankGrid>{{4, 1}, {1, 4}},
                                                      {{4, 1}, {2, 2}},
                                                      {{1, 4}, {2, 1}},
                                                      {{1, 1}, {1, 2}},
                                                      {{1, 2}, {1, 1}}}) {
    SCOPED_TRACE(::testing::Message() << source_grid.tp << "x" << source_grid.kvp << " to "
                                      << destination_grid.tp << "x" << destination_grid.kvp);
    RunningGroup source(model, source_grid, InProcess(network));
    RunningGroup destination(model, destination_grid, InProcess(network));
    std::vector<std::unique_ptr<Handoff>> handoffs;
    for (const HandoffCase& handoff : cases) {
      handoffs.push_back(std::make_unique<Handoff>(source, destination, handoff));
    }
    for (size_t i = 0; i < cases.size(); ++i) {
      const HandoffResult result = handoffs[i]->Wait();
      EXPECT_EQ(result.end, FinishReason::kLength);
      EXPECT_EQ(result.tokens, expected[i]);
      ASSERT_TRUE(result.arrival.has_value());
      EXPECT_TRUE(result.arrival->complete);
      EXPECT_EQ(result.arrival->moved_bytes, result.arrival->useful_bytes);
    }
  }
}

}  // namespace
}  // namespace longspan::testing
