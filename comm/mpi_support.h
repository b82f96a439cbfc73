// What the MPI implementations share: errors as absl::Status, owned communicators, waiting without blocking
// the core. Included by comm/*.cc only.
#pragma once

#include <mpi.h>

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

// OK, or Unavailable with MPI's own text. `what` says which rank did what.
absl::Status MpiStatus(int code, std::string_view what);

// An MPI communicator of our own whose errors are returned. Freed when destroyed, before MPI_Finalize.
class OwnedMpiComm {
 public:
  OwnedMpiComm() = default;
  OwnedMpiComm(OwnedMpiComm&& other) noexcept : comm_(other.comm_) { other.comm_ = MPI_COMM_NULL; }
  OwnedMpiComm& operator=(OwnedMpiComm&&) = delete;
  ~OwnedMpiComm();

  // Collective over `parent`: the same ranks, with messages that nobody else's can be taken for.
  static absl::StatusOr<OwnedMpiComm> Duplicate(MPI_Comm parent);
  // Collective over `parent`, as MPI_Comm_split.
  static absl::StatusOr<OwnedMpiComm> Split(MPI_Comm parent, int color, int key);

  MPI_Comm get() const { return comm_; }
  int rank() const;
  int size() const;

 private:
  explicit OwnedMpiComm(MPI_Comm comm) : comm_(comm) {}

  static absl::StatusOr<OwnedMpiComm> Adopt(MPI_Comm comm);

  MPI_Comm comm_ = MPI_COMM_NULL;
};

// Collective: on how many hosts the ranks are.
absl::StatusOr<int> NumHosts(const OwnedMpiComm& comm);

// Polls until all requests are done or one has failed, calling pause() between polls. Returns the MPI error
// code of the first one that failed. `statuses` is as long as `requests`.
template <typename Pause>
int PollAll(std::span<MPI_Request> requests, std::span<MPI_Status> statuses, Pause&& pause) {
  for (int done = 0;;) {
    const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses) {
        if (status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING) return status.MPI_ERROR;
      }
    }
    if (code != MPI_SUCCESS || done) return code;
    pause();
  }
}

}  // namespace longspan
