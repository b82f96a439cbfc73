// Continuous batching: requests in, tokens out, one step of the group at a time.
//
// The engine lives on rank 0 and owns all scheduling state. It admits a request only when its whole demand of
// KV fits on every rank beside what was promised to others, so that memory never runs out afterwards.
// Threads: all methods from one thread. Listeners are called from Step (and Cancel), on that thread; they may
// call Submit and Cancel. Each request hears OnFinish once, unless the engine is destroyed before.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/block_manager.h"
#include "runtime/engine/executor.h"
#include "runtime/engine/request.h"

namespace longspan {

struct EngineOptions {
  KvGeometry geometry;         // kvstore/block_manager.h
  int64_t chunk_tokens = 512;  // prefill tokens a step at most; decodes come on top
  int max_sequences = 64;      // running at once
  int max_waiting = 65536;     // queue; a full one refuses
  int64_t max_context = 0;     // prompt plus output, tokens
  int64_t default_max_tokens = 2048;
  int64_t vocab_size = 0;
  int64_t max_logit_rows = 64;  // rows of logits a step returns at most, at least max_sequences: bounds
                                // chunks of prompt_logits requests
  std::vector<int32_t> eos_token_ids;
  uint64_t seed = 0;  // a request that brings no seed is given DeriveSeed(seed, its id), see sampler.h
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

  bool HasWork() const;
  // Runs one step. An error means that the group is unusable; every open request has then been finished with
  // kError.
  absl::Status Step();

  const BlockManager& blocks() const;
  int64_t steps() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace longspan
