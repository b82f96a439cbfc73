#include "comm/mpi_communicator.h"

#include <sched.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/host_communicator.h"
#include "comm/mpi_support.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// The MPI standard promises tags up to here. A tag names the operation and its number, so that a message left
// over by ranks that disagreed is never taken for one of a later operation.
constexpr uint64_t kTags = 32768;
constexpr uint64_t kTagsPerOperation = 8;
static_assert(kNumCommOps <= static_cast<int>(kTagsPerOperation));

class MpiCommunicator final : public HostCommunicator {
 public:
  MpiCommunicator(const MpiEnvironment& environment, const MpiCommunicatorOptions& options, OwnedMpiComm comm)
      : HostCommunicator(comm.rank(), comm.size()),
        environment_(environment),
        options_(options),
        comm_(std::move(comm)) {}

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override;

 protected:
  absl::Status Exchange(CommOp op, std::span<const SendRange> sends,
                        std::span<const ReceiveRange> receives) override;
  absl::Status WaitForAll() override;

 private:
  struct Receive {
    int peer;
    size_t bytes;
  };

  absl::Status StartReceives(std::span<const ReceiveRange> receives, int tag);
  absl::Status StartSends(std::span<const SendRange> sends, int tag);
  absl::Status Finish();
  // Calls start(part) for consecutive parts of the range, none longer than a message may be.
  template <typename Range, typename Start>
  absl::Status ForEachMessage(Range range, Start&& start) const;
  // Who did what, for a message about an error.
  std::string Doing() const;

  const MpiEnvironment& environment_;
  const MpiCommunicatorOptions options_;
  const OwnedMpiComm comm_;
  CommOp op_ = CommOp::kBarrier;  // under way
  uint64_t number_ = 0;           // of the operation under way
  // The messages of the operation under way, receives first. Kept, so as not to allocate in each.
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<Receive> receiving_;
};

std::string MpiCommunicator::Doing() const {
  return absl::StrCat("rank ", rank(), " of ", size(), " on ", environment_.host(), ", operation ", number_,
                      " (", std::string(Name(op_)), ")");
}

template <typename Range, typename Start>
absl::Status MpiCommunicator::ForEachMessage(Range range, Start&& start) const {
  for (size_t begin = 0; begin < range.size(); begin += options_.max_message_bytes) {
    const int code = start(range.subspan(begin, std::min(options_.max_message_bytes, range.size() - begin)));
    if (code != MPI_SUCCESS) return MpiStatus(code, Doing());
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::StartReceives(std::span<const ReceiveRange> receives, int tag) {
  for (int k = 1; k < size(); ++k) {
    const int peer = (rank() + size() - k) % size();
    LONGSPAN_RETURN_IF_ERROR(ForEachMessage(receives[static_cast<size_t>(peer)], [&](ReceiveRange part) {
      receiving_.push_back({peer, part.size()});
      return MPI_Irecv(part.data(), static_cast<int>(part.size()), MPI_BYTE, peer, tag, comm_.get(),
                       &requests_.emplace_back(MPI_REQUEST_NULL));
    }));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::StartSends(std::span<const SendRange> sends, int tag) {
  for (int k = 1; k < size(); ++k) {
    const int peer = (rank() + k) % size();
    LONGSPAN_RETURN_IF_ERROR(ForEachMessage(sends[static_cast<size_t>(peer)], [&](SendRange part) {
      return MPI_Isend(part.data(), static_cast<int>(part.size()), MPI_BYTE, peer, tag, comm_.get(),
                       &requests_.emplace_back(MPI_REQUEST_NULL));
    }));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Finish() {
  // A rank alone on its core should not pay for a system call in every poll; one that shares it must give it
  // away.
  constexpr int kPollsPerYield = 16;
  int polls = 0;
  statuses_.resize(requests_.size());
  const int code = PollAll(requests_, statuses_, [&polls] {
    if (++polls % kPollsPerYield == 0) sched_yield();
  });
  if (code != MPI_SUCCESS) return MpiStatus(code, Doing());
  for (size_t i = 0; i < receiving_.size(); ++i) {
    int bytes = 0;
    MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes);
    if (static_cast<size_t>(bytes) == receiving_[i].bytes) continue;
    return absl::InternalError(absl::StrCat(Doing(), ": got ", bytes, " bytes of rank ", receiving_[i].peer,
                                            " in place of ", receiving_[i].bytes,
                                            ": the ranks disagree about the step; restart the group"));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Exchange(CommOp op, std::span<const SendRange> sends,
                                       std::span<const ReceiveRange> receives) {
  op_ = op;
  ++number_;
  requests_.clear();
  receiving_.clear();
  const int tag = static_cast<int>((number_ * kTagsPerOperation + static_cast<uint64_t>(op)) % kTags);
  LONGSPAN_RETURN_IF_ERROR(StartReceives(receives, tag));
  LONGSPAN_RETURN_IF_ERROR(StartSends(sends, tag));
  return Finish();
}

absl::Status MpiCommunicator::WaitForAll() {
  op_ = CommOp::kBarrier;
  ++number_;
  requests_.assign(1, MPI_REQUEST_NULL);
  receiving_.clear();
  const int code = MPI_Ibarrier(comm_.get(), &requests_[0]);
  if (code != MPI_SUCCESS) return MpiStatus(code, Doing());
  return Finish();
}

absl::StatusOr<std::unique_ptr<Communicator>> MpiCommunicator::Split(int color, int key) {
  LONGSPAN_CHECK(color >= 0);
  LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Split(comm_.get(), color, key));
  return std::make_unique<MpiCommunicator>(environment_, options_, std::move(comm));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(const MpiEnvironment& environment,
                                                                    const MpiCommunicatorOptions& options) {
  LONGSPAN_CHECK(options.max_message_bytes >= 1);
  LONGSPAN_CHECK(options.max_message_bytes <= static_cast<size_t>(std::numeric_limits<int>::max()));
  LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Duplicate(MPI_COMM_WORLD));
  return std::make_unique<MpiCommunicator>(environment, options, std::move(comm));
}

}  // namespace longspan
