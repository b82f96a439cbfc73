// The fastest communicator that the ranks of a job can have.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mpi_environment.h"

namespace longspan {

struct JobCommunicator {
  std::unique_ptr<Communicator> communicator;
  std::string transport;  // for people: what data goes through, and why when it is not shared memory
};

// Collective: over all ranks of the job. Shared memory when all are on one host, else MPI for all of them.
// The environment must outlive the communicator and those split from it.
absl::StatusOr<JobCommunicator> CreateJobCommunicator(const MpiEnvironment& environment);

}  // namespace longspan
