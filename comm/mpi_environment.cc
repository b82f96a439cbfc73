#include "comm/mpi_environment.h"

#include <mpi.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "comm/mpi_support.h"
#include "kernels/status_macros.h"

namespace longspan {

absl::StatusOr<std::unique_ptr<MpiEnvironment>> MpiEnvironment::Create() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  int provided = MPI_THREAD_SINGLE;
  if (initialized) {
    MPI_Query_thread(&provided);
  } else {
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
    LONGSPAN_RETURN_IF_ERROR(
        MpiStatus(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread"));
  }
  auto environment = std::unique_ptr<MpiEnvironment>(new MpiEnvironment(/*owned=*/!initialized));
  if (provided < MPI_THREAD_MULTIPLE) {
    return absl::FailedPreconditionError(
        absl::StrCat("the MPI library offers thread level ", provided, ", needed is MPI_THREAD_MULTIPLE (",
                     MPI_THREAD_MULTIPLE, "): use one that was built with thread support"));
  }
  char host[MPI_MAX_PROCESSOR_NAME];
  int host_length = 0;
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Get_processor_name(host, &host_length), "MPI_Get_processor_name"));
  environment->host_.assign(host, static_cast<size_t>(host_length));
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Comm_rank(MPI_COMM_WORLD, &environment->rank_), "MPI_Comm_rank"));
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Comm_size(MPI_COMM_WORLD, &environment->size_), "MPI_Comm_size"));
  return environment;
}

MpiEnvironment::~MpiEnvironment() {
  if (owned_) MPI_Finalize();
}

void MpiEnvironment::Abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::abort();
}

}  // namespace longspan
