// What the engine keeps, for the files that implement it: engine.cc runs steps, engine_queue.cc says who
// runs, engine_report.cc tells about it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/engine/engine.h"
#include "runtime/engine/prefill_pacer.h"
#include "runtime/engine/request_check.h"
#include "runtime/engine/sampler.h"
#include "runtime/engine/scheduler.h"
#include "runtime/engine/sequence.h"
#include "runtime/engine/waiting_queue.h"

namespace longspan {

// Amounts over time, of late: each addition makes those before it count a little less.
class RecentRate {
 public:
  void Add(double amount, double seconds) {
    constexpr double kMemory = 0.95;
    amount_ = kMemory * amount_ + amount;
    seconds_ = kMemory * seconds_ + seconds;
  }
  double per_second() const { return seconds_ > 0 ? amount_ / seconds_ : 0; }
  double seconds_each() const { return amount_ > 0 ? seconds_ / amount_ : 0; }

 private:
  double amount_ = 0, seconds_ = 0;
};

struct Engine::State {
  State(EngineOptions engine_options, Executor* step_executor, std::unique_ptr<BlockManager> block_manager);

  int64_t ChunkTokens(bool prompt_logits) const;
  RequestLimits Limits(int64_t chunk_tokens) const;

  // engine_queue.cc
  absl::Status CheckShift(const Request& request, int64_t max_tokens, int64_t chunk_tokens) const;
  // Ends a request, wherever it is, and frees all it held. Unknown and finished ones are ignored.
  void End(RequestId id, FinishReason reason);
  void EndExpired(Clock::Time now);
  void AdmitWaiting(Clock::Time now);
  void AnnounceStarts();
  // Starts a waiting sequence if there is room for it.
  bool Start(Sequence& sequence, Clock::Time now);
  // Starts it in place of running ones of lower priority, if that makes room.
  bool PreemptFor(Sequence& sequence, Clock::Time now);
  void Preempt(size_t index, Clock::Time now);
  void Release(Sequence& sequence);  // its slot and KV
  void Finish(Sequence& sequence, FinishReason reason);
  void FailAll(const absl::Status& fault);

  // engine_handoff.cc
  absl::Status CheckPeer(const KvPeer& peer, bool has_shift) const;
  void OpenHandoff(Sequence& sequence, Clock::Time now);
  void CloseHandoff(Sequence& sequence);
  void AnnounceReady();
  void GoOn(Sequence& sequence);            // with the KV that has arrived
  void ComputeInstead(Sequence& sequence);  // of the KV that has not
  Sequence* Find(RequestId id);

  // engine.cc
  bool IsActive() const;  // something can be computed
  void Plan(Clock::Time now);
  void BuildBatch();
  void SampleTokens(std::span<const float> logits);
  void Deliver();
  void DeliverLogits(Sequence& sequence, std::span<const float> rows);
  void DeliverToken(Sequence& sequence, const absl::StatusOr<int32_t>& token);
  void EraseFinished();
  void Measure(double seconds);

  const EngineOptions options;
  const Clock& clock;
  Executor* const executor;
  const std::unique_ptr<BlockManager> blocks;
  const RequestLimits limits;
  const RequestLimits prompt_logits_limits;
  // Of one of the executor's host threads.
  struct SamplingThread {
    Sampler sampler;
    std::vector<uint64_t> allowed;  // a bit for each token of the vocabulary
  };
  std::vector<SamplingThread> sampling_threads;

  WaitingQueue waiting;
  std::vector<std::unique_ptr<Sequence>> running;  // finished ones leave at the end of the step
  std::vector<int> free_slots;                     // a stack
  Clock::Time next_deadline = Clock::Time::max();  // none is earlier
  // Of the step; kept, so that a step allocates nothing once such a step was seen.
  std::vector<SequenceView> views;
  std::vector<int32_t> active;     // of the views, indices into running
  std::vector<KvOrder> kv_orders;  // of the next step
  SchedulePlan plan;
  StepBatch batch;
  struct ChunkResult {
    std::span<const float> logits;                 // the chunk's rows of it
    std::optional<absl::StatusOr<int32_t>> token;  // none where the sequence gets none
  };
  std::vector<ChunkResult> results;  // of the plan's chunks
  std::vector<size_t> sampled;       // those of them whose sequences get a token
  StepWork work;
  bool usual_work = true;  // no more than one row of logits a sequence

  PrefillPacer pacer;
  TokenPace token_pace;     // of the step's tokens
  RecentRate prefill_rate;  // tokens over the time of steps with prompts
  RecentRate decode_rate;   // steps with decodes over their time
  EngineTotals totals;

  RequestId next_id = 1;
  bool in_step = false;  // listeners are called: nothing may leave `running`
  absl::Status fault;    // of the step that failed
};

}  // namespace longspan
