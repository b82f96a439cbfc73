#include "comm/job_communicator.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/mpi_communicator.h"
#include "comm/shared_memory_communicator.h"
#include "kernels/status_macros.h"

namespace longspan {

absl::StatusOr<JobCommunicator> CreateJobCommunicator(const MpiEnvironment& environment) {
  absl::StatusOr<std::unique_ptr<Communicator>> shared = CreateSharedMemoryCommunicator(environment);
  if (shared.ok()) return JobCommunicator{*std::move(shared), "shared memory"};
  if (!absl::IsFailedPrecondition(shared.status())) return shared.status();
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> messages, CreateMpiCommunicator(environment));
  return JobCommunicator{std::move(messages),
                         absl::StrCat("MPI (", std::string(shared.status().message()), ")")};
}

}  // namespace longspan
