// The CPU backend: AVX-512, AVX2 or portable kernels, chosen when it is created.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longspan {

struct CpuBackendOptions {
  int threads = 1;
  Isa isa = Isa::kAuto;
  // How products with block-format weights see their activations. kAuto: int8 per group of 32. Plain weights
  // use float32 activations unless kBF16 is asked for.
  ActivationDType activation = ActivationDType::kAuto;
};

// The best instruction set that this processor has.
Isa DetectIsa();
bool IsaSupported(Isa isa);

// FailedPrecondition when the processor lacks the instruction set.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options);

}  // namespace longspan
