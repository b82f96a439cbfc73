// Carries out steps. The engine knows a group only through this.
#pragma once

#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "runtime/engine/batch.h"

namespace longspan {

class Executor {
 public:
  virtual ~Executor() = default;

  // Runs one step on all ranks and waits for it. Returns the logits that the batch asks for, float32
  // [NumLogitRows, vocab] in batch order, in host memory that stays valid until the next call.
  // An error means that the group is unusable.
  virtual absl::StatusOr<std::span<const float>> Execute(const StepBatch& batch) = 0;

  // What rank 0 computes between steps: calls body(index, thread) for each index of [0, count) on the threads
  // that the steps run on, thread < host_threads(). Returns when all are done.
  virtual int host_threads() const = 0;
  virtual void HostFor(int64_t count, absl::FunctionRef<void(int64_t index, int thread)> body) = 0;
};

}  // namespace longspan
