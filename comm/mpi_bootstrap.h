// The control plane of the ranks of one MPI job.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "comm/bootstrap.h"
#include "comm/clock.h"
#include "comm/mpi_environment.h"

namespace longspan {

// Collective: over all ranks of the job. The environment and the clock must outlive the bootstrap.
absl::StatusOr<std::unique_ptr<Bootstrap>> CreateMpiBootstrap(const MpiEnvironment& environment,
                                                              const Clock& clock);

}  // namespace longspan
