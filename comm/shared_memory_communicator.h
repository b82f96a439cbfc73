// Ranks as processes of one host: collectives through memory that they share (shared_memory_links.h). MPI
// takes part in the set-up alone.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mpi_environment.h"
#include "comm/shared_memory_options.h"

namespace longspan {

// Collective: over all ranks of the job. FailedPrecondition, on every rank, when they are on several hosts or
// the system lets them share no memory. The environment must outlive the communicator and those split from
// it. A peer that has ended is noticed within seconds and reported as Unavailable, by its rank.
absl::StatusOr<std::unique_ptr<Communicator>> CreateSharedMemoryCommunicator(
    const MpiEnvironment& environment, const SharedMemoryOptions& options = {});

}  // namespace longspan
