#include "comm/shared_memory_communicator.h"

#include <utility>

#include "comm/host_communicator.h"
#include "comm/mpi_support.h"
#include "comm/shared_memory_links.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

class SharedMemoryCommunicator final : public HostCommunicator {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(const MpiEnvironment& environment,
                                                              const SharedMemoryOptions& options,
                                                              OwnedMpiComm comm, bool may_spin) {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<SharedMemoryLinks> links,
                              SharedMemoryLinks::Create(comm, environment.host(), may_spin, options));
    return std::unique_ptr<Communicator>(
        new SharedMemoryCommunicator(environment, options, std::move(comm), std::move(links), may_spin));
  }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    LONGSPAN_CHECK(color >= 0);
    LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Split(comm_.get(), color, key));
    return Create(environment_, options_, std::move(comm), may_spin_);
  }

 protected:
  absl::Status Exchange(CommOp op, std::span<const SendRange> sends,
                        std::span<const ReceiveRange> receives) override {
    return links_->Exchange(op, sends, receives);
  }
  absl::Status WaitForAll() override { return links_->Barrier(); }

 private:
  SharedMemoryCommunicator(const MpiEnvironment& environment, const SharedMemoryOptions& options,
                           OwnedMpiComm comm, std::unique_ptr<SharedMemoryLinks> links, bool may_spin)
      : HostCommunicator(comm.rank(), comm.size()),
        environment_(environment),
        options_(options),
        comm_(std::move(comm)),
        links_(std::move(links)),
        may_spin_(may_spin) {}

  const MpiEnvironment& environment_;
  const SharedMemoryOptions options_;
  const OwnedMpiComm comm_;  // for Split
  const std::unique_ptr<SharedMemoryLinks> links_;
  const bool may_spin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateSharedMemoryCommunicator(
    const MpiEnvironment& environment, const SharedMemoryOptions& options) {
  LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Duplicate(MPI_COMM_WORLD));
  LONGSPAN_ASSIGN_OR_RETURN(const bool may_spin, HasCoreForEachRank(comm));
  return SharedMemoryCommunicator::Create(environment, options, std::move(comm), may_spin);
}

}  // namespace longspan
