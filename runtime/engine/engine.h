// Continuous batching: requests in, tokens out, one step of the group at a time.
//
// The engine lives on rank 0 and owns all scheduling state. It admits a request only when its whole demand of
// KV fits on every rank beside what was promised to others, so that memory never runs out afterwards. A
// request of higher priority may preempt others to get in: they return to the queue, and are computed again
// later, with the same tokens. Threads: all methods from one thread. Listeners are called from Step (and
// Cancel), on that thread; they may call Submit and Cancel. Each request hears OnFinish once, unless the
// engine is destroyed before.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "kvstore/block_manager.h"
#include "runtime/engine/engine_snapshot.h"
#include "runtime/engine/executor.h"
#include "runtime/engine/itl_target.h"
#include "runtime/engine/request.h"
#include "runtime/engine/request_check.h"
#include "runtime/engine/token_pace.h"

namespace longspan {

// The defaults are those of a batch of requests that nobody watches: prompts in full chunks, strictly in
// order.
struct EngineOptions {
  KvGeometry geometry;         // kvstore/block_manager.h
  int64_t chunk_tokens = 512;  // prefill tokens a step at most; decodes come on top
  int max_sequences = 64;      // running at once
  int max_waiting = 65536;     // queue; a full one refuses
  // The same, in tokens of prompts. A queue that is empty takes a prompt of any length.
  int64_t max_waiting_tokens = std::numeric_limits<int64_t>::max();
  int64_t max_context = 0;  // prompt plus output, tokens
  int64_t default_max_tokens = 2048;
  int64_t vocab_size = 0;
  int64_t max_logit_rows = 64;  // rows of logits a step returns at most, at least max_sequences: bounds
                                // chunks of prompt_logits requests
  std::vector<int32_t> eos_token_ids;
  uint64_t seed = 0;  // a request that brings no seed is given DeriveSeed(seed, its id), see sampler.h
  // For the gap between two tokens of a running request: chunks of prompts are sized from measured times to
  // keep to it. itl_target.h, prefill_pacer.h.
  double itl_target_s = kNoItlTarget;
  // How long smaller requests may start before the first in the queue while there is no room for it.
  double max_overtaken_s = 0;
  int kv_heads = 1;              // of the model; what moves is cut by them
  BlockHash kv_root;             // of the hashes of KV that moves between groups (kvstore/block_hash.h)
  const Clock* clock = nullptr;  // outlives the engine; null: a SteadyClock
};

class Engine {
 public:
  // InvalidArgument names the option that makes no sense. `executor` must outlive the engine.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(EngineOptions options, Executor* executor);
  ~Engine();

  // Checks and queues a request. InvalidArgument names what is wrong (empty prompt, token out of the
  // vocabulary, sampling value out of range, prompt that cannot ever fit: its length, the limit, and the
  // largest output that would fit); ResourceExhausted when the queue is full; the fault once a step has
  // failed. `listener` must outlive the request.
  absl::StatusOr<RequestId> Submit(Request request, RequestListener* listener);

  // Ends a request, frees all it held; OnFinish is called before this returns. Unknown or finished ids are
  // ignored.
  void Cancel(RequestId id);

  // The token after what a request with receives_from receives. Unknown ids are ignored.
  void Continue(RequestId id, int32_t token);
  // How its handoff went; unknown ones are ignored.
  void KvArrived(const HandoffId& handoff, KvArrival arrival);

  bool HasWork() const;
  // Runs one step. An error means that the group is unusable; every open request has then been finished with
  // kError.
  absl::Status Step();

  const BlockManager& blocks() const;
  int64_t steps() const;
  // For listeners that pass tokens on to somebody who watches: how those of the current step should leave.
  TokenPace token_pace() const;
  // What Submit holds requests without prompt_logits to; equal for the engine's whole life.
  const RequestLimits& limits() const;

  // Cheap enough for some calls a second: its maps look at every page.
  EngineSnapshot Snapshot() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace longspan
