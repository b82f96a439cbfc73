#include "comm/thread_communicator.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/host_communicator.h"
#include "comm/thread_barrier.h"
#include "kernels/check.h"

namespace longspan {
namespace {

// What the ranks of one communicator share. A rank writes its own slot; after a barrier all read all slots;
// after another one they may be written again.
struct Hub {
  struct alignas(64) Slot {
    CommOp op = CommOp::kBarrier;
    std::span<const std::span<const std::byte>> sends;  // by receiving rank
    int color = 0, key = 0;
    std::shared_ptr<Hub> child;  // in the slot of the lowest rank of a color
  };

  explicit Hub(int count) : slots(static_cast<size_t>(count)), barrier(count) {}

  std::vector<Slot> slots;
  ThreadBarrier barrier;
};

class ThreadCommunicator final : public HostCommunicator {
 public:
  ThreadCommunicator(int rank, std::shared_ptr<Hub> hub)
      : HostCommunicator(rank, static_cast<int>(hub->slots.size())), hub_(std::move(hub)) {}

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override;

 protected:
  absl::Status Exchange(CommOp op, std::span<const SendRange> sends,
                        std::span<const ReceiveRange> receives) override;
  absl::Status WaitForAll() override {
    hub_->barrier.Wait();
    return absl::OkStatus();
  }

 private:
  Hub::Slot& Slot(int rank) { return hub_->slots[static_cast<size_t>(rank)]; }
  absl::Status CopyFrom(int peer, CommOp op, ReceiveRange to);

  const std::shared_ptr<Hub> hub_;
};

absl::Status ThreadCommunicator::CopyFrom(int peer, CommOp op, ReceiveRange to) {
  const Hub::Slot& slot = Slot(peer);
  const SendRange from = slot.sends[static_cast<size_t>(rank())];
  if (slot.op != op || from.size() != to.size()) {
    return absl::InternalError(absl::StrCat("rank ", rank(), ": ", std::string(Name(op)), " expects ",
                                            to.size(), " bytes of rank ", peer, ", which sends ", from.size(),
                                            " in its ", std::string(Name(slot.op)),
                                            ": the ranks disagree about the step; restart the group"));
  }
  if (!to.empty()) std::memcpy(to.data(), from.data(), to.size());
  return absl::OkStatus();
}

absl::Status ThreadCommunicator::Exchange(CommOp op, std::span<const SendRange> sends,
                                          std::span<const ReceiveRange> receives) {
  Slot(rank()).op = op;
  Slot(rank()).sends = sends;
  hub_->barrier.Wait();
  absl::Status status;
  // Everyone begins with another peer.
  for (int k = 1; k < size(); ++k) {
    const int peer = (rank() + k) % size();
    status.Update(CopyFrom(peer, op, receives[static_cast<size_t>(peer)]));
  }
  // The peers are still reading what this rank sends.
  hub_->barrier.Wait();
  return status;
}

absl::StatusOr<std::unique_ptr<Communicator>> ThreadCommunicator::Split(int color, int key) {
  LONGSPAN_CHECK(color >= 0);
  Slot(rank()).color = color;
  Slot(rank()).key = key;
  hub_->barrier.Wait();
  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (Slot(r).color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return Slot(a).key < Slot(b).key; });
  const int leader = *std::min_element(members.begin(), members.end());
  if (rank() == leader) Slot(rank()).child = std::make_shared<Hub>(static_cast<int>(members.size()));
  hub_->barrier.Wait();
  const auto place = std::find(members.begin(), members.end(), rank());
  auto child =
      std::make_unique<ThreadCommunicator>(static_cast<int>(place - members.begin()), Slot(leader).child);
  hub_->barrier.Wait();
  Slot(rank()).child.reset();
  return child;
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> CreateThreadCommunicators(int count) {
  LONGSPAN_CHECK(count >= 1);
  auto hub = std::make_shared<Hub>(count);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < count; ++r) ranks.push_back(std::make_unique<ThreadCommunicator>(r, hub));
  return ranks;
}

}  // namespace longspan
