// A communicator that is late, or fails, on purpose: for tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace longspan {

struct FaultyCommunicatorOptions {
  uint64_t seed = 0;
  // Before each operation the stream's work sleeps for a random time up to this. Ranks differ in their times.
  std::chrono::microseconds max_delay{0};
  // This operation fails, counted from 1; 0 = none.
  uint64_t fail_operation = 0;
  // Each operation fails with this probability. The draw depends on the seed and the operation's number
  // alone: ranks with the same options fail together, and nobody is left waiting.
  double fail_probability = 0;
};

// An operation that fails returns Unavailable, naming rank, operation and number, without having reached
// `wrapped` or the stream. Counters are those of `wrapped`. What Split makes is faulty too, with the same
// options and its own numbers; Split itself never fails on purpose.
std::unique_ptr<Communicator> CreateFaultyCommunicator(std::unique_ptr<Communicator> wrapped,
                                                       const FaultyCommunicatorOptions& options);

}  // namespace longspan
