// Exchange of byte ranges between the processes of one host, through memory that they share.
//
// Every ordered pair of ranks has a ring of slots (shared_memory_ring.h). Short messages are copied into a
// slot and out of it. Of a long one the receiver is told the address, and copies it from the sender's memory
// (process_vm_readv); where the system forbids that, it too goes slot by slot, with both ends copying at the
// same time. A rank that waits keeps its core for a millisecond, if there is one for each rank, and then
// sleeps. Included by comm/shared_memory_*.cc only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/mpi_support.h"
#include "comm/shared_memory_options.h"
#include "comm/shared_memory_ring.h"
#include "comm/shared_segment.h"

namespace longspan {

// Collective. FailedPrecondition, on every rank, when the ranks are on several hosts; else whether there is a
// core for each of them.
absl::StatusOr<bool> HasCoreForEachRank(const OwnedMpiComm& comm);

class SharedMemoryLinks {
 public:
  // The same on all ranks, but for `rank`.
  struct Place {
    int rank = 0;
    std::string host;             // for messages
    bool may_spin = false;        // see HasCoreForEachRank
    bool can_read_peers = false;  // the system allows process_vm_readv between all of them
    std::vector<int> processes;   // their ids, by rank
  };

  // Collective over `comm`, whose ranks are processes of one host. FailedPrecondition, on every rank, when
  // the system lets them share no memory.
  static absl::StatusOr<std::unique_ptr<SharedMemoryLinks>> Create(const OwnedMpiComm& comm,
                                                                   const std::string& host, bool may_spin,
                                                                   const SharedMemoryOptions& options);
  // `segment` is the same zeroed memory on all ranks, of at least RingLayout::total_bytes().
  SharedMemoryLinks(Place place, const SharedMemoryOptions& options, SharedSegment segment);

  int rank() const { return place_.rank; }
  int size() const { return static_cast<int>(place_.processes.size()); }

  // As HostCommunicator::Exchange. A peer that has ended is noticed within seconds and reported as
  // Unavailable, by its rank. After an error the links are unusable.
  absl::Status Exchange(CommOp op, std::span<const std::span<const std::byte>> sends,
                        std::span<const std::span<std::byte>> receives);
  // Returns when all ranks have called it.
  absl::Status Barrier();

 private:
  // This rank's end of a ring, and what is left of the message under way.
  struct Outgoing {
    std::byte* ring = nullptr;
    uint64_t filled = 0;   // slots
    uint64_t emptied = 0;  // of them, as far as was looked
    std::span<const std::byte> rest;
    size_t message_bytes = 0;
    bool offered = false;  // the receiver was told where `rest` is, and reads it
  };
  struct Incoming {
    std::byte* ring = nullptr;
    uint64_t emptied = 0;  // slots
    std::span<std::byte> rest;
    size_t message_bytes = 0;
  };
  class Patience;

  static Ring& RingAt(std::byte* ring) { return *reinterpret_cast<Ring*>(ring); }
  Ring::Slot& SlotAt(std::byte* ring, uint64_t number) const {
    return *reinterpret_cast<Ring::Slot*>(ring + sizeof(Ring) +
                                          number % Ring::kSlots * layout_.slot_stride());
  }
  Doorbell& DoorbellOf(int rank) const { return reinterpret_cast<Doorbell*>(segment_.data())[rank]; }

  // Moves what can be moved now; whether that was anything.
  bool Push(Outgoing& to);
  absl::StatusOr<bool> Pull(int peer, Incoming& from);
  // The next slot with its header filled in, or null while the ring is full.
  Ring::Slot* NextSlot(Outgoing& to);
  // Copies what came with the slot and returns the number of bytes.
  absl::StatusOr<size_t> TakePart(int peer, Ring::Slot& slot, const Incoming& from) const;
  // One round over all peers.
  absl::Status Progress(bool* moved, bool* done);
  // Sleeps until a peer has done something; *done when that was all that was missing.
  absl::Status Sleep(bool* done);
  // Unavailable when a peer that is waited for has ended.
  absl::Status CheckPeers() const;
  absl::Status PeerEnded(int peer) const;
  std::string Doing() const;

  const Place place_;
  const SharedMemoryOptions options_;
  const SharedSegment segment_;
  const RingLayout layout_;
  std::vector<Outgoing> outgoing_;  // by receiving rank
  std::vector<Incoming> incoming_;  // by sending rank
  // Of Barrier: a byte to and from everybody.
  std::vector<std::byte> barrier_bytes_;
  std::vector<std::span<const std::byte>> barrier_sends_;
  std::vector<std::span<std::byte>> barrier_receives_;
  CommOp op_ = CommOp::kBarrier;  // under way
  uint64_t operation_ = 0;        // its number
};

}  // namespace longspan
