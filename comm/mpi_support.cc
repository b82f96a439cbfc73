#include "comm/mpi_support.h"

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {

absl::Status MpiStatus(int code, std::string_view what) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  return absl::UnavailableError(absl::StrCat(
      std::string(what), ": MPI error ", code, " (", std::string(text, static_cast<size_t>(length)),
      "); the group cannot go on: look for the first rank that failed and restart the group"));
}

OwnedMpiComm::~OwnedMpiComm() {
  if (comm_ == MPI_COMM_NULL) return;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) MPI_Comm_free(&comm_);
}

absl::StatusOr<OwnedMpiComm> OwnedMpiComm::Adopt(MPI_Comm comm) {
  OwnedMpiComm owned(comm);
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
  return owned;
}

absl::StatusOr<OwnedMpiComm> OwnedMpiComm::Duplicate(MPI_Comm parent) {
  MPI_Comm comm = MPI_COMM_NULL;
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Comm_dup(parent, &comm), "MPI_Comm_dup"));
  return Adopt(comm);
}

absl::StatusOr<OwnedMpiComm> OwnedMpiComm::Split(MPI_Comm parent, int color, int key) {
  MPI_Comm comm = MPI_COMM_NULL;
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Comm_split(parent, color, key, &comm), "MPI_Comm_split"));
  return Adopt(comm);
}

int OwnedMpiComm::rank() const {
  int rank = 0;
  MPI_Comm_rank(comm_, &rank);
  return rank;
}

int OwnedMpiComm::size() const {
  int size = 0;
  MPI_Comm_size(comm_, &size);
  return size;
}

absl::StatusOr<int> NumHosts(const OwnedMpiComm& comm) {
  MPI_Comm host = MPI_COMM_NULL;
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_split_type(comm.get(), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL, &host),
                "MPI_Comm_split_type"));
  int rank_on_host = 0;
  MPI_Comm_rank(host, &rank_on_host);
  MPI_Comm_free(&host);
  int hosts = rank_on_host == 0 ? 1 : 0;
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &hosts, 1, MPI_INT, MPI_SUM, comm.get()), "MPI_Allreduce"));
  return hosts;
}

}  // namespace longspan
