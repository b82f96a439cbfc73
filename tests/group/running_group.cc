#include "tests/group/running_group.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <utility>

#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "gtest/gtest.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "runtime/engine/engine.h"
#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

constexpr int64_t kChunkTokens = 64;
constexpr int kBlockSize = 16;
constexpr int kMaxSequences = 16;

Request MakeRequest(const HandoffCase& handoff) {
  Request request;
  request.prompt = handoff.prompt;
  request.max_tokens = handoff.max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = handoff.seed % 2 == 0 ? 0 : 0.9;
  request.sampling.seed = handoff.seed;
  return request;
}

RunId NextRun() {
  static std::atomic<RunId> next = 1;
  return next++;
}

}  // namespace

void RunningGroup::Door::Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) {
  {
    const std::lock_guard lock(mutex_);
    if (link_ != nullptr) return link_->Start(run, std::move(request), std::move(listener));
  }
  listener->OnFinish(FinishReason::kCancelled);
}

void RunningGroup::Door::Continue(RunId run, int32_t token) {
  const std::lock_guard lock(mutex_);
  if (link_ != nullptr) link_->Continue(run, token);
}

void RunningGroup::Door::Cancel(RunId run) {
  const std::lock_guard lock(mutex_);
  if (link_ != nullptr) link_->Cancel(run);
}

RunningGroup::RunningGroup(RunningGroupOptions options)
    : options_(std::move(options)), source_(*ModelSource::Open(options_.model)) {
  const int ranks = grid().ranks();
  auto bootstraps = std::make_shared<std::vector<std::unique_ptr<Bootstrap>>>(CreateThreadBootstraps(ranks));
  auto communicators =
      std::make_shared<std::vector<std::unique_ptr<Communicator>>>(CreateThreadCommunicators(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    ranks_.emplace_back([this, rank, bootstraps, communicators] {
      const auto r = static_cast<size_t>(rank);
      RunRank(*(*bootstraps)[r], std::move((*communicators)[r]));
    });
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return loop_ != nullptr; });
}

RunningGroup::~RunningGroup() {
  loop_->Drain(Clock::Duration::zero());
  for (std::thread& rank : ranks_) rank.join();
}

void RunningGroup::RunRank(Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator) {
  const auto backend =
      *CreateCpuBackend({.threads = 1, .isa = DetectIsa(), .activation = ActivationDType::kF32});
  GroupOptions options;
  options.tp = grid().tp;
  options.kvp = grid().kvp;
  options.numerics.block_size = kBlockSize;
  options.numerics.kv_dtype = DType::kBF16;
  options.numerics.activation = ActivationDType::kF32;
  options.numerics.isa = DetectIsa();
  options.numerics.ways = ReductionWays(grid().ranks());
  options.kv_bytes = options_.kv_bytes / static_cast<uint64_t>(grid().ranks());
  options.max_sequences = kMaxSequences;
  options.max_batch_tokens = kChunkTokens + kMaxSequences;
  options.create_transport = options_.create_transport;
  options.handoff_patience = options_.patience;
  const auto group = *Group::Create(*source_, bootstrap, std::move(communicator), *backend, options);
  if (bootstrap.rank() != 0) {
    LONGSPAN_CHECK(group->Serve().ok());
    return;
  }
  EngineOptions engine_options;
  engine_options.geometry = group->geometry();
  engine_options.kv_heads = source_->config().num_kv_heads;
  engine_options.chunk_tokens = kChunkTokens;
  engine_options.max_sequences = kMaxSequences;
  engine_options.max_context = group->options().max_context;
  engine_options.vocab_size = source_->config().vocab_size;
  engine_options.max_logit_rows = group->options().max_logit_rows;
  engine_options.eos_token_ids = source_->config().eos_token_ids;
  const auto engine = *Engine::Create(engine_options, group.get());
  EngineLoop loop(*engine, 4096, clock_);
  group->SetOnKvArrival(
      [&loop](const HandoffId& id, const KvArrival& arrival) { loop.KvArrived(id, arrival); });
  LocalGroup link(loop, [](const std::string&) { return absl::UnimplementedError("no grammars here"); });
  {
    const std::lock_guard lock(mutex_);
    addresses_ = group->Report()->transport_addresses;
    door_->link_ = &link;
    loop_ = &loop;
  }
  changed_.notify_all();
  LONGSPAN_CHECK(loop.Run([] {}).ok());
  {
    const std::lock_guard lock(door_->mutex_);
    door_->link_ = nullptr;
  }
  LONGSPAN_CHECK(group->Shutdown().ok());
}

void RunningGroup::ExpectAllFree() const {
  const auto is_free = [](const EngineSnapshot& snapshot) {
    for (const KvRankSnapshot& rank : snapshot.ranks) {
      if (rank.reserved != 0 || rank.in_use != 0) return false;
    }
    return snapshot.sequences.empty() && snapshot.waiting == 0;
  };
  // The snapshot is told some time after the last request has ended.
  for (int i = 0; i < 10000 && !is_free(snapshot()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(is_free(snapshot()));
}

void Heard::OnStart() {
  if (on_start) on_start();
}

bool Heard::OnToken(const GeneratedToken& token) {
  {
    const std::lock_guard lock(mutex_);
    tokens_.push_back(token.id);
  }
  if (on_token) on_token(token.id);
  return true;
}

void Heard::OnReadyForKv() {
  if (on_ready) on_ready();
}

void Heard::OnKvArrived(const KvArrival& arrival) {
  {
    const std::lock_guard lock(mutex_);
    arrival_ = arrival;
  }
  if (on_arrived) on_arrived();
}

void Heard::OnFinish(FinishReason reason) {
  const std::lock_guard lock(mutex_);
  EXPECT_FALSE(end_.has_value());
  end_ = reason;
  changed_.notify_all();
}

void Heard::OnError(const absl::Status& error) {
  if (absl::IsUnavailable(error)) return OnFinish(FinishReason::kCancelled);  // the group is dying
  ADD_FAILURE() << error;
  OnFinish(FinishReason::kError);
}

FinishReason Heard::WaitForEnd() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return end_.has_value(); });
  return *end_;
}

bool Heard::ended() {
  const std::lock_guard lock(mutex_);
  return end_.has_value();
}

std::vector<int32_t> Heard::tokens() {
  const std::lock_guard lock(mutex_);
  return tokens_;
}

std::optional<KvArrival> Heard::arrival() {
  const std::lock_guard lock(mutex_);
  return arrival_;
}

std::vector<int32_t> Prompt(int64_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < length; ++i) prompt.push_back(static_cast<int32_t>(3 + random() % 300));
  return prompt;
}

std::vector<std::vector<int32_t>> Alone(const std::string& model, std::span<const HandoffCase> cases) {
  std::vector<Request> requests;
  for (const HandoffCase& handoff : cases) requests.push_back(MakeRequest(handoff));
  LocalGroupOptions options;
  options.block_size = kBlockSize;
  options.kv_dtype = DType::kBF16;
  options.chunk_tokens = kChunkTokens;
  options.kv_bytes = uint64_t{16} << 20;
  std::vector<std::vector<int32_t>> tokens;
  for (Generated& result : RunLocalGroup(model, requests, options).results) {
    tokens.push_back(std::move(result.tokens));
  }
  return tokens;
}

std::shared_ptr<Heard> StartAlone(RunningGroup& group, const HandoffCase& handoff) {
  auto heard = std::make_shared<Heard>();
  Request request = MakeRequest(handoff);
  request.priority = kHighestPriority;
  group.door()->Start(NextRun(), std::move(request), heard);
  return heard;
}

std::shared_ptr<Heard> StartUnanswered(RunningGroup& group, const HandoffCase& handoff,
                                       Clock::Duration timeout) {
  auto heard = std::make_shared<Heard>();
  Request request = MakeRequest(handoff);
  request.shift = 0;
  request.receives_from = KvPeer{{}, group.grid(), 0, group.addresses()};
  request.deadline = SteadyClock().Now() + timeout;
  group.door()->Start(NextRun(), std::move(request), heard);
  return heard;
}

int64_t PlannedBytes(const std::string& model, const HandoffCase& handoff) {
  const auto source = *ModelSource::Open(model);
  const ModelConfig& config = source->config();
  KvShape shape;
  shape.block_size = kBlockSize;
  shape.kv_heads = config.num_kv_heads;
  shape.head_dim = config.head_dim;
  for (const LayerGroupConfig& group : config.groups) {
    shape.groups.push_back({static_cast<int>(group.layers.size()), group.window});
  }
  const int64_t tokens = std::ssize(handoff.prompt) + handoff.generated;
  return HandoffPlan::Create({.shape = shape, .source = {}, .destination = {}, .tokens = tokens})
      ->total_bytes();
}

// Kept by what may still be heard of its runs.
struct Handoff::State {
  std::shared_ptr<RunningGroup::Door> source, destination;
  const RunId there = NextRun(), here = NextRun();
  Cancellation cancellation;
  std::atomic<bool> is_cancelled = false, is_started_there = false;
  std::shared_ptr<Heard> heard_there = std::make_shared<Heard>(), heard_here = std::make_shared<Heard>();

  void Reach(Stage stage) {
    if (cancellation.stage != stage || is_cancelled) return;
    if (cancellation.source_first) {
      source->Cancel(there);
    } else {
      destination->Cancel(here);
    }
    is_cancelled = true;
  }
};

Handoff::Handoff(RunningGroup& source, RunningGroup& destination, const HandoffCase& handoff,
                 const std::vector<int32_t>& alone, const Cancellation& cancellation)
    : state_(std::make_shared<State>()), generated_(alone.begin(), alone.begin() + handoff.generated) {
  State& state = *state_;
  state.source = source.door();
  state.destination = destination.door();
  state.cancellation = cancellation;
  HandoffId id;
  std::mt19937_64 random(handoff.seed);
  for (std::byte& byte : id.token) byte = static_cast<std::byte>(random());
  id.epoch = static_cast<uint64_t>(state.there);
  std::memcpy(id.token.data(), &id.epoch, sizeof id.epoch);

  Request receives = MakeRequest(handoff);
  receives.generated = generated_;
  receives.shift = handoff.destination_shift % destination.grid().kvp;
  Request sends = Copy(receives);
  sends.shift = handoff.source_shift % source.grid().kvp;
  receives.receives_from = KvPeer{id, source.grid(), *sends.shift, source.addresses()};
  sends.sends_to = KvPeer{id, destination.grid(), *receives.shift, destination.addresses()};

  // Listeners are kept until their ends, and what they call with them: by the state alone.
  const std::weak_ptr<State> weak = state_;
  const auto with = [weak](auto function) {
    return [weak, function] {
      if (const std::shared_ptr<State> alive = weak.lock()) function(*alive);
    };
  };
  auto shared_sends = std::make_shared<Request>(std::move(sends));
  state.heard_here->on_ready = with([shared_sends](State& s) {
    s.Reach(Stage::kReady);
    s.is_started_there = true;
    s.source->Start(s.there, std::move(*shared_sends), s.heard_there);
  });
  state.heard_there->on_start = with([](State& s) { s.Reach(Stage::kSourceStarts); });
  state.heard_there->on_token = [weak](int32_t token) {
    const std::shared_ptr<State> alive = weak.lock();
    if (alive == nullptr) return;
    alive->Reach(Stage::kToken);
    alive->destination->Continue(alive->here, token);
    alive->Reach(Stage::kContinued);
  };
  state.heard_here->on_arrived = with([](State& s) {
    s.Reach(Stage::kArrived);
    if (!s.is_cancelled) s.source->Cancel(s.there);
  });
  state.heard_here->on_token = [weak](int32_t) {
    if (const std::shared_ptr<State> alive = weak.lock()) alive->Reach(Stage::kGoesOn);
  };
  state.destination->Start(state.here, std::move(receives), state.heard_here);
  state.Reach(Stage::kBegins);
}

void Handoff::Cancel() {
  state_->destination->Cancel(state_->here);
  state_->source->Cancel(state_->there);
  state_->is_cancelled = true;
}

bool Handoff::continued() const { return !state_->heard_there->tokens().empty(); }

bool Handoff::HasEnded() {
  State& s = *state_;
  if (s.is_cancelled) s.destination->Cancel(s.here);
  if (!s.heard_here->ended()) return false;
  s.source->Cancel(s.there);
  return !s.is_started_there || s.heard_there->ended();
}

HandoffResult Handoff::Wait() {
  State& s = *state_;
  while (!HasEnded()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  HandoffResult result;
  result.end = s.heard_here->WaitForEnd();
  result.tokens = generated_;
  for (Heard* heard : {s.heard_there.get(), s.heard_here.get()}) {
    const std::vector<int32_t> tokens = heard->tokens();
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.end());
  }
  result.arrival = s.heard_here->arrival();
  return result;
}

}  // namespace longspan::testing
