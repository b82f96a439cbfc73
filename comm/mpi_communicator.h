// Ranks as processes of one MPI job: collectives as point-to-point messages between host memories.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mpi_environment.h"

namespace longspan {

struct MpiCommunicatorOptions {
  // Longer transfers are cut: MPI counts in int. The same on all ranks.
  size_t max_message_bytes = size_t{1} << 30;
};

// Collective: over all ranks of the job. The environment must outlive the communicator and those split from
// it.
absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(
    const MpiEnvironment& environment, const MpiCommunicatorOptions& options = {});

}  // namespace longspan
