// What kernel_bench times: operations of the CPU backend, through its public interface.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "bench/measurement.h"
#include "kernels/backend.h"

namespace longspan::bench {

// A backend of so many threads, on the first of the CPUs.
struct BoundBackend {
  int threads = 1;
  std::unique_ptr<Backend> backend;
};

struct KernelCaseOptions {
  // Weights and KV that a case goes through before it comes back to the first are at least so many bytes.
  size_t footprint_bytes = size_t{512} << 20;
};

// Backend::Linear by weight format, shape (outputs x inputs) and rows.
void RunLinearCases(const std::vector<BoundBackend>& backends, const KernelCaseOptions& options,
                    Measurement& measurement);

// Backend::PagedAttention of one row over a context, and of a chunk of a prompt after a prefix.
void RunAttentionCases(const std::vector<BoundBackend>& backends, const KernelCaseOptions& options,
                       Measurement& measurement);

}  // namespace longspan::bench
