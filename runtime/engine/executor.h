// Carries out steps. The engine knows a group only through this.
#pragma once

#include <span>

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
};

}  // namespace longspan
