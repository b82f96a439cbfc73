#include "comm/mpi_bootstrap.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/backoff.h"
#include "comm/mpi_support.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr int kBroadcastTag = 1;
constexpr int kAllGatherTag = 2;

class MpiBootstrap final : public Bootstrap {
 public:
  MpiBootstrap(const MpiEnvironment& environment, const Clock& clock, OwnedMpiComm comm)
      : environment_(environment), clock_(clock), comm_(std::move(comm)) {}

  int rank() const override { return environment_.rank(); }
  int size() const override { return environment_.size(); }
  const std::string& host() const override { return environment_.host(); }

  absl::Status Broadcast(std::string* blob, int root) override {
    LONGSPAN_CHECK(0 <= root && root < size());
    if (rank() != root) return Receive(root, kBroadcastTag, blob);
    LONGSPAN_RETURN_IF_ERROR(StartSends(*blob, kBroadcastTag));
    return Wait("broadcast");
  }

  absl::StatusOr<std::vector<std::string>> AllGather(std::string_view blob) override {
    LONGSPAN_RETURN_IF_ERROR(StartSends(blob, kAllGatherTag));
    std::vector<std::string> all(static_cast<size_t>(size()));
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) {
        all[static_cast<size_t>(r)] = blob;
      } else {
        LONGSPAN_RETURN_IF_ERROR(Receive(r, kAllGatherTag, &all[static_cast<size_t>(r)]));
      }
    }
    LONGSPAN_RETURN_IF_ERROR(Wait("all-gather"));
    return all;
  }

  absl::Status Barrier() override {
    requests_.assign(1, MPI_REQUEST_NULL);
    const int code = MPI_Ibarrier(comm_.get(), &requests_[0]);
    return code == MPI_SUCCESS ? Wait("barrier") : Error(code, "barrier");
  }

 private:
  absl::Status Error(int code, const char* what) const {
    return MpiStatus(code, absl::StrCat("rank ", rank(), " of ", size(), " on ", host(), ", ", what,
                                        " of control messages"));
  }

  // To every other rank. The blob must stay until Wait.
  absl::Status StartSends(std::string_view blob, int tag) {
    LONGSPAN_CHECK(blob.size() <= kMaxBlobBytes);
    requests_.clear();
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      const int code = MPI_Isend(blob.data(), static_cast<int>(blob.size()), MPI_BYTE, r, tag, comm_.get(),
                                 &requests_.emplace_back(MPI_REQUEST_NULL));
      if (code != MPI_SUCCESS) return Error(code, "send");
    }
    return absl::OkStatus();
  }

  absl::Status Wait(const char* what) {
    IdleBackoff backoff(clock_);
    statuses_.resize(requests_.size());
    const int code = PollAll(requests_, statuses_, [&backoff] { backoff.Pause(); });
    return code == MPI_SUCCESS ? absl::OkStatus() : Error(code, what);
  }

  // Waits for a message of any length: its sender alone knows it.
  absl::Status Receive(int from, int tag, std::string* blob) {
    IdleBackoff backoff(clock_);
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    for (int found = 0; !found;) {
      const int code = MPI_Improbe(from, tag, comm_.get(), &found, &message, &status);
      if (code != MPI_SUCCESS) return Error(code, "receive");
      if (!found) backoff.Pause();
    }
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    blob->resize(static_cast<size_t>(bytes));
    MPI_Request request = MPI_REQUEST_NULL;
    int code = MPI_Imrecv(blob->data(), bytes, MPI_BYTE, &message, &request);
    if (code != MPI_SUCCESS) return Error(code, "receive");
    IdleBackoff transfer(clock_);
    code = PollAll({&request, 1}, {&status, 1}, [&transfer] { transfer.Pause(); });
    return code == MPI_SUCCESS ? absl::OkStatus() : Error(code, "receive");
  }

  const MpiEnvironment& environment_;
  const Clock& clock_;
  const OwnedMpiComm comm_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Bootstrap>> CreateMpiBootstrap(const MpiEnvironment& environment,
                                                              const Clock& clock) {
  LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Duplicate(MPI_COMM_WORLD));
  return std::make_unique<MpiBootstrap>(environment, clock, std::move(comm));
}

}  // namespace longspan
