// The fastest connections that the ranks of a job can have.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/bootstrap.h"
#include "comm/clock.h"
#include "comm/communicator.h"
#include "comm/mpi_environment.h"

namespace longspan {

struct JobConnections {
  std::unique_ptr<Bootstrap> bootstrap;
  std::unique_ptr<Communicator> communicator;
  std::string transport;  // for people: what data goes through, and why when it is not shared memory
};

// Collective: over all ranks of the job. Shared memory when all are on one host, else MPI for all of them.
// The environment and the clock must outlive the connections and what is split from them.
absl::StatusOr<JobConnections> ConnectJob(const MpiEnvironment& environment, const Clock& clock);

}  // namespace longspan
