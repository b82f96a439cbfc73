#include "comm/shared_memory_links.h"

#include <sched.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

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

inline void PauseCore() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// How a rank waits: it polls for a millisecond, which is longer than the ranks of a step usually differ,
// while there is a core for each rank; then it gives its core away a few times, and then it should sleep.
// Sleeping at once costs more than a small exchange; ever more yields cost milliseconds each where other
// programs want the core.
class SharedMemoryLinks::Patience {
 public:
  explicit Patience(bool may_spin) : may_spin_(may_spin) {}

  // To be called when something has moved.
  void Renew() { polls_ = yields_ = 0; }

  // Pauses before the next poll; false when it is time to sleep.
  bool Pause() {
    if (may_spin_ && (polls_ % kPollsBetweenClocks != 0 || MaySpinOn())) {
      ++polls_;
      PauseCore();
      return true;
    }
    if (yields_ == kYields) return false;
    ++yields_;
    sched_yield();
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kSpinTime{1};
  static constexpr int kPollsBetweenClocks = 64;
  static constexpr int kYields = 16;

  bool MaySpinOn() {
    const Clock::time_point now = Clock::now();
    if (polls_ == 0) begin_ = now;
    return now - begin_ < kSpinTime;
  }

  const bool may_spin_;
  int polls_ = 0, yields_ = 0;
  Clock::time_point begin_;
};

absl::StatusOr<bool> HasCoreForEachRank(const OwnedMpiComm& comm) {
  LONGSPAN_ASSIGN_OR_RETURN(const int hosts, NumHosts(comm));
  if (hosts > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ranks are on ", hosts, " hosts, which share no memory"));
  }
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) CPU_ZERO(&cores);
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof cores, MPI_BYTE, MPI_BOR, comm.get()),
                "MPI_Allreduce of processor masks"));
  return comm.size() <= CPU_COUNT(&cores);
}

absl::StatusOr<std::unique_ptr<SharedMemoryLinks>> SharedMemoryLinks::Create(
    const OwnedMpiComm& comm, const std::string& host, bool may_spin, const SharedMemoryOptions& options) {
  const RingLayout layout(comm.size(), options.slot_bytes);
  LONGSPAN_ASSIGN_OR_RETURN(SharedSegment segment, SharedSegment::Create(comm, layout.total_bytes()));
  const uint64_t value = 0x6c6f6e677370616e ^ static_cast<uint64_t>(comm.rank());
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<Process> processes, GatherProcesses(comm, value));
  Place place;
  place.rank = comm.rank();
  place.host = host;
  place.may_spin = may_spin;
  LONGSPAN_ASSIGN_OR_RETURN(place.can_read_peers, CanReadPeers(comm, processes));
  for (const Process& process : processes) place.processes.push_back(process.id);
  return std::make_unique<SharedMemoryLinks>(std::move(place), options, std::move(segment));
}

SharedMemoryLinks::SharedMemoryLinks(Place place, const SharedMemoryOptions& options, SharedSegment segment)
    : place_(std::move(place)),
      options_(options),
      segment_(std::move(segment)),
      layout_(size(), options.slot_bytes),
      outgoing_(static_cast<size_t>(size())),
      incoming_(static_cast<size_t>(size())),
      barrier_bytes_(static_cast<size_t>(size()) + 1) {
  for (int r = 0; r < size(); ++r) {
    const size_t at = static_cast<size_t>(r);
    outgoing_[at].ring = layout_.RingOf(segment_.data(), rank(), r);
    incoming_[at].ring = layout_.RingOf(segment_.data(), r, rank());
    barrier_sends_.emplace_back(&barrier_bytes_.back(), 1);
    barrier_receives_.emplace_back(&barrier_bytes_[at], 1);
  }
}

std::string SharedMemoryLinks::Doing() const {
  return absl::StrCat("rank ", rank(), " of ", size(), " on ", place_.host, ", operation ", operation_, " (",
                      std::string(Name(op_)), ")");
}

absl::Status SharedMemoryLinks::PeerEnded(int peer) const {
  return absl::UnavailableError(
      absl::StrCat(Doing(), ": rank ", peer, " (process ", place_.processes[static_cast<size_t>(peer)],
                   ") has ended; the group cannot go on: look for why it ended and restart the group"));
}

Ring::Slot* SharedMemoryLinks::NextSlot(Outgoing& to) {
  if (to.filled - to.emptied == Ring::kSlots) {
    to.emptied = RingAt(to.ring).emptied.load(std::memory_order_acquire);
    if (to.filled - to.emptied == Ring::kSlots) return nullptr;
  }
  Ring::Slot& slot = SlotAt(to.ring, to.filled);
  slot.operation = operation_;
  slot.op = op_;
  slot.message_bytes = to.message_bytes;
  slot.sender_address = 0;
  return &slot;
}

bool SharedMemoryLinks::Push(Outgoing& to) {
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
    if (place_.can_read_peers && to.message_bytes >= options_.least_direct_bytes) {
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

absl::StatusOr<size_t> SharedMemoryLinks::TakePart(int peer, Ring::Slot& slot, const Incoming& from) const {
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
  const int error = ReadPeer(place_.processes[static_cast<size_t>(peer)], slot.sender_address,
                             from.rest.data(), from.rest.size());
  if (error == ESRCH) return PeerEnded(peer);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat(Doing(), ": process_vm_readv of rank ", peer, ": ",
                                               std::strerror(error), "; restart the group"));
  }
  return from.rest.size();
}

absl::StatusOr<bool> SharedMemoryLinks::Pull(int peer, Incoming& from) {
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

absl::Status SharedMemoryLinks::Progress(bool* moved, bool* done) {
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

absl::Status SharedMemoryLinks::CheckPeers() const {
  for (int r = 0; r < size(); ++r) {
    const size_t at = static_cast<size_t>(r);
    if (outgoing_[at].rest.empty() && incoming_[at].rest.empty()) continue;
    if (kill(place_.processes[at], 0) != 0 && errno == ESRCH) return PeerEnded(r);
  }
  return absl::OkStatus();
}

absl::Status SharedMemoryLinks::Sleep(bool* done) {
  absl::Status status;
  const bool rung = DoorbellOf(rank()).Sleep([&] {
    bool moved = false;
    status = Progress(&moved, done);
    return moved || *done || !status.ok();
  });
  LONGSPAN_RETURN_IF_ERROR(status);
  return rung ? absl::OkStatus() : CheckPeers();
}

absl::Status SharedMemoryLinks::Exchange(CommOp op, std::span<const std::span<const std::byte>> sends,
                                         std::span<const std::span<std::byte>> receives) {
  op_ = op;
  ++operation_;
  for (size_t r = 0; r < sends.size(); ++r) {
    if (r == static_cast<size_t>(rank())) continue;
    outgoing_[r].rest = sends[r];
    outgoing_[r].message_bytes = sends[r].size();
    incoming_[r].rest = receives[r];
    incoming_[r].message_bytes = receives[r].size();
  }
  Patience patience(place_.may_spin);
  for (;;) {
    bool moved = false, done = false;
    LONGSPAN_RETURN_IF_ERROR(Progress(&moved, &done));
    if (done) return absl::OkStatus();
    if (moved) {
      patience.Renew();
    } else if (!patience.Pause()) {
      LONGSPAN_RETURN_IF_ERROR(Sleep(&done));
      if (done) return absl::OkStatus();
    }
  }
}

absl::Status SharedMemoryLinks::Barrier() {
  return Exchange(CommOp::kBarrier, barrier_sends_, barrier_receives_);
}

}  // namespace longspan
