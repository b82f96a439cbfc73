// Ranks as processes of one host: collectives through memory that they share.
//
// Every ordered pair of ranks has a ring of slots in a shared segment. Short messages are copied into a slot
// and out of it. Of a long one the receiver is told the address, and copies it from the sender's memory
// (process_vm_readv); where the system forbids that, it too goes slot by slot, with both ends copying at the
// same time. MPI takes part in the set-up alone. A rank that waits keeps its core for a millisecond, if there
// is one for each rank of the job, and then sleeps.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mpi_environment.h"

namespace longspan {

// The same on all ranks.
struct SharedMemoryCommunicatorOptions {
  // Of a slot, at most; less with many ranks.
  size_t slot_bytes = size_t{32} << 10;
  // Messages of that many bytes are read from the sender's memory.
  size_t least_direct_bytes = size_t{8} << 10;
};

// Collective: over all ranks of the job. FailedPrecondition, on every rank, when they are on several hosts or
// the system lets them share no memory. The environment must outlive the communicator and those split from
// it. A peer that has ended is noticed within seconds and reported as Unavailable, by its rank.
absl::StatusOr<std::unique_ptr<Communicator>> CreateSharedMemoryCommunicator(
    const MpiEnvironment& environment, const SharedMemoryCommunicatorOptions& options = {});

}  // namespace longspan
