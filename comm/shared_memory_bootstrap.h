// Ranks as processes of one host: blobs through memory that they share (shared_memory_links.h).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "comm/bootstrap.h"
#include "comm/mpi_environment.h"

namespace longspan {

// Collective: over all ranks of the job. FailedPrecondition, on every rank, when they are on several hosts or
// the system lets them share no memory. The environment must outlive the bootstrap. A peer that has ended is
// noticed within seconds and reported as Unavailable, by its rank.
absl::StatusOr<std::unique_ptr<Bootstrap>> CreateSharedMemoryBootstrap(const MpiEnvironment& environment);

}  // namespace longspan
