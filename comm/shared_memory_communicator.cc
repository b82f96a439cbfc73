#include "comm/shared_memory_communicator.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/host_communicator.h"
#include "comm/mpi_support.h"
#include "comm/shared_segment.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr size_t kCacheLine = 64;
constexpr uint64_t kSlots = 4;  // of a ring
constexpr size_t kMostSlotBytes = size_t{32} << 10;
constexpr size_t kMostSegmentBytes = size_t{64} << 20;

// One direction between two ranks: this, then its slots. Zeroed memory is an empty ring.
struct alignas(kCacheLine) Ring {
  // A message, or a part of one.
  struct alignas(kCacheLine) Slot {
    std::atomic<uint64_t> filled;  // written last by the sender: 1 + the slot's number since the beginning
    uint64_t operation;
    CommOp op;
    uint64_t message_bytes;
    uint64_t sender_address;  // where the receiver reads the message; 0: the slot's bytes follow

    std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
  };

  std::atomic<uint64_t> emptied;  // slots that the receiver is done with, since the beginning
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Where a rank sleeps until a peer has done something. In shared memory, zeroed at first.
class alignas(kCacheLine) Doorbell {
 public:
  // Called after a change that the owner may be waiting for.
  void Ring() {
    // Either the owner sees the change before it sleeps, or this sees that it is about to.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleeps_.load(std::memory_order_relaxed) == 0) return;
    rings_.fetch_add(1, std::memory_order_release);
    syscall(SYS_futex, &rings_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  // The owner's: sleeps until it rings, unless look() finds that something has changed already. Returns false
  // when nothing has rung for a second.
  template <typename Look>
  bool Sleep(Look&& look) {
    const uint32_t rings = rings_.load(std::memory_order_acquire);
    sleeps_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    bool rung = true;
    if (!look()) {
      const timespec second = {1, 0};
      rung = syscall(SYS_futex, &rings_, FUTEX_WAIT, rings, &second, nullptr, 0) == 0 || errno != ETIMEDOUT;
    }
    sleeps_.store(0, std::memory_order_relaxed);
    return rung;
  }

 private:
  std::atomic<uint32_t> rings_;
  std::atomic<uint32_t> sleeps_;
};

// How the rings lie in the segment, by sender, then by receiver.
struct Layout {
  int ranks;
  size_t slot_bytes;

  size_t slot_stride() const { return sizeof(Ring::Slot) + slot_bytes; }
  size_t ring_stride() const { return sizeof(Ring) + kSlots * slot_stride(); }
  size_t rings_begin() const { return static_cast<size_t>(ranks) * sizeof(Doorbell); }
  size_t total_bytes() const {
    return rings_begin() + static_cast<size_t>(ranks) * static_cast<size_t>(ranks) * ring_stride();
  }
  std::byte* RingOf(std::byte* segment, int from, int to) const {
    return segment + rings_begin() + static_cast<size_t>(from * ranks + to) * ring_stride();
  }
};

Layout ChooseLayout(int ranks, size_t slot_bytes) {
  const size_t rings = static_cast<size_t>(ranks) * static_cast<size_t>(ranks);
  const size_t most = std::min({slot_bytes, kMostSlotBytes, kMostSegmentBytes / (rings * kSlots)});
  return {ranks, std::max(most / kCacheLine, size_t{1}) * kCacheLine};
}

// Whether every rank of the host can have a core to itself, and may keep it while it waits.
absl::StatusOr<bool> EnoughCores(const OwnedMpiComm& comm) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) CPU_ZERO(&cores);
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof cores, MPI_BYTE, MPI_BOR, comm.get()),
                "MPI_Allreduce of processor masks"));
  return comm.size() <= CPU_COUNT(&cores);
}

// Reads the memory of another process, as far as the system lets it. Returns 0 or an errno.
int ReadPeer(int process, uint64_t address, void* to, size_t bytes) {
  while (bytes > 0) {
    const iovec local = {to, bytes};
    const iovec remote = {reinterpret_cast<void*>(address), bytes};
    const ssize_t read = process_vm_readv(process, &local, 1, &remote, 1, 0);
    if (read <= 0) return read < 0 ? errno : EFAULT;
    to = static_cast<std::byte*>(to) + read;
    address += static_cast<uint64_t>(read);
    bytes -= static_cast<size_t>(read);
  }
  return 0;
}

// What a rank tells the others of its host once.
struct Process {
  int id;
  uint64_t value_address;
  uint64_t value;
};

// By rank. Each holds a value that the others may try to read until the next collective call.
absl::StatusOr<std::vector<Process>> GatherProcesses(const OwnedMpiComm& comm, const uint64_t& value) {
  std::vector<Process> processes(static_cast<size_t>(comm.size()));
  const Process own = {static_cast<int>(getpid()), reinterpret_cast<uint64_t>(&value), value};
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allgather(&own, sizeof own, MPI_BYTE, processes.data(), sizeof own, MPI_BYTE, comm.get()),
                "MPI_Allgather of processes"));
  return processes;
}

// Whether all ranks can read each other's memory; containers often forbid it.
absl::StatusOr<bool> CanReadPeers(const OwnedMpiComm& comm, const std::vector<Process>& processes) {
  int can = 1;
  for (const Process& process : processes) {
    uint64_t value = ~process.value;
    const int error = ReadPeer(process.id, process.value_address, &value, sizeof value);
    if (error != 0 || value != process.value) can = 0;
  }
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &can, 1, MPI_INT, MPI_MIN, comm.get()), "MPI_Allreduce"));
  return can != 0;
}

// A rank that waits polls so often while there is a core for each rank, then so often giving its core away,
// and then sleeps. Sleeping at once costs more than a small exchange; ever more yields cost milliseconds each
// where other programs want the core.
const int kSpins = getenv("SPINS")
                       ? atoi(getenv("SPINS"))
                       : 4000;  // about a millisecond: longer than the ranks of a step usually differ
constexpr int kYields = 16;

inline void PauseCore() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

class SharedMemoryCommunicator final : public HostCommunicator {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(const MpiEnvironment& environment,
                                                              const SharedMemoryCommunicatorOptions& options,
                                                              OwnedMpiComm comm, bool may_spin);
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    LONGSPAN_CHECK(color >= 0);
    LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Split(comm_.get(), color, key));
    return Create(environment_, options_, std::move(comm), may_spin_);
  }

 protected:
  absl::Status Exchange(CommOp op, std::span<const SendRange> sends,
                        std::span<const ReceiveRange> receives) override;
  absl::Status WaitForAll() override;

 private:
  // This rank's end of a ring, and what is left of the message under way.
  struct Outgoing {
    std::byte* ring = nullptr;
    uint64_t filled = 0;   // slots
    uint64_t emptied = 0;  // of them, as far as was looked
    SendRange rest{};
    size_t message_bytes = 0;
    bool offered = false;  // the receiver was told where `rest` is, and reads it
  };
  struct Incoming {
    std::byte* ring = nullptr;
    uint64_t emptied = 0;  // slots
    ReceiveRange rest{};
    size_t message_bytes = 0;
  };

  SharedMemoryCommunicator(const MpiEnvironment& environment, const SharedMemoryCommunicatorOptions& options,
                           OwnedMpiComm comm, SharedSegment segment, const Layout& layout, bool may_spin);

  static Ring& RingAt(std::byte* ring) { return *reinterpret_cast<Ring*>(ring); }
  Ring::Slot& SlotAt(std::byte* ring, uint64_t number) const {
    return *reinterpret_cast<Ring::Slot*>(ring + sizeof(Ring) + number % kSlots * layout_.slot_stride());
  }

  Doorbell& DoorbellOf(int rank) const { return reinterpret_cast<Doorbell*>(segment_.data())[rank]; }

  // Moves what can be moved now; whether that was anything.
  bool Push(Outgoing& to);
  absl::StatusOr<bool> Pull(int peer, Incoming& from);
  // The next slot with its header filled in, or null while the ring is full.
  Ring::Slot* NextSlot(Outgoing& to);
  absl::StatusOr<size_t> TakePart(int peer, Ring::Slot& slot, const Incoming& from) const;
  // One round over all peers.
  absl::Status Progress(bool* moved, bool* done);
  // Sleeps until a peer has done something; *done when that was all that was missing.
  absl::Status Sleep(bool* done);
  // Unavailable when a peer that is waited for has ended.
  absl::Status CheckPeers() const;
  absl::Status PeerEnded(int peer) const;
  std::string Doing() const;

  const MpiEnvironment& environment_;
  const SharedMemoryCommunicatorOptions options_;
  const OwnedMpiComm comm_;
  const SharedSegment segment_;
  const Layout layout_;
  const bool may_spin_;
  std::vector<Process> processes_;  // by rank
  bool can_read_peers_ = false;
  std::vector<Outgoing> outgoing_;  // by receiving rank
  std::vector<Incoming> incoming_;  // by sending rank
  CommOp op_ = CommOp::kBarrier;    // under way
  uint64_t operation_ = 0;          // its number
};

SharedMemoryCommunicator::SharedMemoryCommunicator(const MpiEnvironment& environment,
                                                   const SharedMemoryCommunicatorOptions& options,
                                                   OwnedMpiComm comm, SharedSegment segment,
                                                   const Layout& layout, bool may_spin)
    : HostCommunicator(comm.rank(), comm.size()),
      environment_(environment),
      options_(options),
      comm_(std::move(comm)),
      segment_(std::move(segment)),
      layout_(layout),
      may_spin_(may_spin),
      outgoing_(static_cast<size_t>(size())),
      incoming_(static_cast<size_t>(size())) {
  for (int r = 0; r < size(); ++r) {
    outgoing_[static_cast<size_t>(r)].ring = layout_.RingOf(segment_.data(), rank(), r);
    incoming_[static_cast<size_t>(r)].ring = layout_.RingOf(segment_.data(), r, rank());
  }
}

absl::StatusOr<std::unique_ptr<Communicator>> SharedMemoryCommunicator::Create(
    const MpiEnvironment& environment, const SharedMemoryCommunicatorOptions& options, OwnedMpiComm comm,
    bool may_spin) {
  const Layout layout = ChooseLayout(comm.size(), options.slot_bytes);
  LONGSPAN_ASSIGN_OR_RETURN(SharedSegment segment, SharedSegment::Create(comm, layout.total_bytes()));
  auto communicator = std::unique_ptr<SharedMemoryCommunicator>(new SharedMemoryCommunicator(
      environment, options, std::move(comm), std::move(segment), layout, may_spin));
  const uint64_t value = 0x6c6f6e677370616e ^ static_cast<uint64_t>(communicator->rank());
  LONGSPAN_ASSIGN_OR_RETURN(communicator->processes_, GatherProcesses(communicator->comm_, value));
  LONGSPAN_ASSIGN_OR_RETURN(communicator->can_read_peers_,
                            CanReadPeers(communicator->comm_, communicator->processes_));
  return communicator;
}

std::string SharedMemoryCommunicator::Doing() const {
  return absl::StrCat("rank ", rank(), " of ", size(), " on ", environment_.host(), ", operation ",
                      operation_, " (", std::string(Name(op_)), ")");
}

absl::Status SharedMemoryCommunicator::PeerEnded(int peer) const {
  return absl::UnavailableError(
      absl::StrCat(Doing(), ": rank ", peer, " (process ", processes_[static_cast<size_t>(peer)].id,
                   ") has ended; the group cannot go on: look for why it ended and restart the group"));
}

Ring::Slot* SharedMemoryCommunicator::NextSlot(Outgoing& to) {
  if (to.filled - to.emptied == kSlots) {
    to.emptied = RingAt(to.ring).emptied.load(std::memory_order_acquire);
    if (to.filled - to.emptied == kSlots) return nullptr;
  }
  Ring::Slot& slot = SlotAt(to.ring, to.filled);
  slot.operation = operation_;
  slot.op = op_;
  slot.message_bytes = to.message_bytes;
  slot.sender_address = 0;
  return &slot;
}

bool SharedMemoryCommunicator::Push(Outgoing& to) {
  if (to.offered) {
    to.emptied = RingAt(to.ring).emptied.load(std::memory_order_acquire);
    if (to.emptied != to.filled) return false;
    to.offered = false;
    to.rest = {};
    return true;
  }
  bool moved = false;
  while (!to.rest.empty()) {
    Ring::Slot* slot = NextSlot(to);
    if (slot == nullptr) break;
    moved = true;
    if (can_read_peers_ && to.message_bytes >= options_.least_direct_bytes) {
      slot->sender_address = reinterpret_cast<uint64_t>(to.rest.data());
      slot->filled.store(++to.filled, std::memory_order_release);
      to.offered = true;
      break;
    }
    const size_t bytes = std::min(to.rest.size(), layout_.slot_bytes);
    std::memcpy(slot->bytes(), to.rest.data(), bytes);
    slot->filled.store(++to.filled, std::memory_order_release);
    to.rest = to.rest.subspan(bytes);
  }
  return moved;
}

// Returns the number of bytes that came with the slot.
absl::StatusOr<size_t> SharedMemoryCommunicator::TakePart(int peer, Ring::Slot& slot,
                                                          const Incoming& from) const {
  if (slot.operation != operation_ || slot.op != op_ || slot.message_bytes != from.message_bytes) {
    return absl::InternalError(absl::StrCat(Doing(), ": got ", slot.message_bytes, " bytes of rank ", peer,
                                            ", of its operation ", slot.operation, " (",
                                            std::string(Name(slot.op)), "), in place of ", from.message_bytes,
                                            ": the ranks disagree about the step; restart the group"));
  }
  if (slot.sender_address == 0) {
    const size_t bytes = std::min(from.rest.size(), layout_.slot_bytes);
    std::memcpy(from.rest.data(), slot.bytes(), bytes);
    return bytes;
  }
  const int error = ReadPeer(processes_[static_cast<size_t>(peer)].id, slot.sender_address, from.rest.data(),
                             from.rest.size());
  if (error == ESRCH) return PeerEnded(peer);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat(Doing(), ": process_vm_readv of rank ", peer, ": ",
                                               std::strerror(error), "; restart the group"));
  }
  return from.rest.size();
}

absl::StatusOr<bool> SharedMemoryCommunicator::Pull(int peer, Incoming& from) {
  bool moved = false;
  while (!from.rest.empty()) {
    Ring::Slot& slot = SlotAt(from.ring, from.emptied);
    if (slot.filled.load(std::memory_order_acquire) != from.emptied + 1) break;
    const absl::StatusOr<size_t> bytes = TakePart(peer, slot, from);
    // After an error too, so that the sender can go on to where it hears of it.
    RingAt(from.ring).emptied.store(++from.emptied, std::memory_order_release);
    LONGSPAN_RETURN_IF_ERROR(bytes.status());
    from.rest = from.rest.subspan(*bytes);
    moved = true;
  }
  return moved;
}

absl::Status SharedMemoryCommunicator::Progress(bool* moved, bool* done) {
  *moved = false;
  *done = true;
  // Everyone begins with another peer.
  for (int k = 1; k < size(); ++k) {
    const int peer = (rank() + k) % size();
    Outgoing& to = outgoing_[static_cast<size_t>(peer)];
    if (to.rest.empty()) continue;
    if (Push(to)) {
      *moved = true;
      DoorbellOf(peer).Ring();
    }
    *done &= to.rest.empty();
  }
  for (int k = 1; k < size(); ++k) {
    const int peer = (rank() + size() - k) % size();
    Incoming& from = incoming_[static_cast<size_t>(peer)];
    if (from.rest.empty()) continue;
    LONGSPAN_ASSIGN_OR_RETURN(const bool pulled, Pull(peer, from));
    if (pulled) {
      *moved = true;
      DoorbellOf(peer).Ring();
    }
    *done &= from.rest.empty();
  }
  return absl::OkStatus();
}

absl::Status SharedMemoryCommunicator::CheckPeers() const {
  for (int r = 0; r < size(); ++r) {
    const size_t at = static_cast<size_t>(r);
    if (outgoing_[at].rest.empty() && incoming_[at].rest.empty()) continue;
    if (kill(processes_[at].id, 0) != 0 && errno == ESRCH) return PeerEnded(r);
  }
  return absl::OkStatus();
}

absl::Status SharedMemoryCommunicator::Sleep(bool* done) {
  absl::Status status;
  const bool rung = DoorbellOf(rank()).Sleep([&] {
    bool moved = false;
    status = Progress(&moved, done);
    return moved || *done || !status.ok();
  });
  LONGSPAN_RETURN_IF_ERROR(status);
  return rung ? absl::OkStatus() : CheckPeers();
}

absl::Status SharedMemoryCommunicator::Exchange(CommOp op, std::span<const SendRange> sends,
                                                std::span<const ReceiveRange> receives) {
  op_ = op;
  ++operation_;
  for (size_t r = 0; r < sends.size(); ++r) {
    if (r == static_cast<size_t>(rank())) continue;
    outgoing_[r].rest = sends[r];
    outgoing_[r].message_bytes = sends[r].size();
    incoming_[r].rest = receives[r];
    incoming_[r].message_bytes = receives[r].size();
  }
  int spins_left = may_spin_ ? kSpins : 0, yields_left = kYields;
  for (;;) {
    bool moved = false, done = false;
    LONGSPAN_RETURN_IF_ERROR(Progress(&moved, &done));
    if (done) return absl::OkStatus();
    if (moved) continue;
    if (spins_left > 0) {
      --spins_left;
      PauseCore();
    } else if (yields_left > 0) {
      --yields_left;
      sched_yield();
    } else {
      LONGSPAN_RETURN_IF_ERROR(Sleep(&done));
      if (done) return absl::OkStatus();
    }
  }
}

absl::Status SharedMemoryCommunicator::WaitForAll() {
  // A byte to and from everybody.
  constexpr std::byte kHere{1};
  std::vector<std::byte> there(static_cast<size_t>(size()));
  std::vector<ReceiveRange> receives;
  for (std::byte& byte : there) receives.emplace_back(&byte, 1);
  return Exchange(CommOp::kBarrier, std::vector<SendRange>(receives.size(), SendRange(&kHere, 1)), receives);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateSharedMemoryCommunicator(
    const MpiEnvironment& environment, const SharedMemoryCommunicatorOptions& options) {
  LONGSPAN_ASSIGN_OR_RETURN(OwnedMpiComm comm, OwnedMpiComm::Duplicate(MPI_COMM_WORLD));
  LONGSPAN_ASSIGN_OR_RETURN(const int hosts, NumHosts(comm));
  if (hosts > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ranks are on ", hosts, " hosts, which share no memory"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(const bool may_spin, EnoughCores(comm));
  return SharedMemoryCommunicator::Create(environment, options, std::move(comm), may_spin);
}

}  // namespace longspan
