// A backend that behaves as a GPU's does, made from the CPU backend: host code cannot touch its memory, and
// what is launched on a stream runs later, on a thread of the stream. It proves that code above the seam
// (kernels/backend.h) keeps to the contract, and it gives the CPU backend's bits.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "kernels/backend.h"

namespace longspan {

struct DeferredBackendOptions {
  size_t memory_bytes = size_t{8} << 30;  // of the device; only what is touched becomes resident
  // Each operation waits for a random time up to this before it runs.
  std::chrono::microseconds max_delay{20};
  uint64_t seed = 1;
};

// Takes the operations' arguments at the call and runs them on `cpu` later; a pointer argument that is no
// address of this device fails a CHECK at the call. Operations of several streams take turns. Loading a
// weight is immediate; weights are not in device memory. Buffers may outlive the backend, streams may not.
// Fails a CHECK if the system has no memory to map.
std::unique_ptr<Backend> CreateDeferredBackend(std::unique_ptr<Backend> cpu,
                                               const DeferredBackendOptions& options);

}  // namespace longspan
