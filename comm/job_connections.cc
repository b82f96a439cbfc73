#include "comm/job_connections.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/mpi_bootstrap.h"
#include "comm/mpi_communicator.h"
#include "comm/shared_memory_bootstrap.h"
#include "comm/shared_memory_communicator.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

absl::StatusOr<JobConnections> ConnectByMemory(const MpiEnvironment& environment) {
  JobConnections connections;
  LONGSPAN_ASSIGN_OR_RETURN(connections.bootstrap, CreateSharedMemoryBootstrap(environment));
  LONGSPAN_ASSIGN_OR_RETURN(connections.communicator, CreateSharedMemoryCommunicator(environment));
  connections.transport = "shared memory";
  return connections;
}

}  // namespace

absl::StatusOr<JobConnections> ConnectJob(const MpiEnvironment& environment, const Clock& clock) {
  absl::StatusOr<JobConnections> connections = ConnectByMemory(environment);
  if (connections.ok() || !absl::IsFailedPrecondition(connections.status())) return connections;
  JobConnections messages;
  LONGSPAN_ASSIGN_OR_RETURN(messages.bootstrap, CreateMpiBootstrap(environment, clock));
  LONGSPAN_ASSIGN_OR_RETURN(messages.communicator, CreateMpiCommunicator(environment));
  messages.transport = absl::StrCat("MPI (", std::string(connections.status().message()), ")");
  return messages;
}

}  // namespace longspan
