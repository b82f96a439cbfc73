// What lies in the memory that ranks of one host share: a doorbell for each rank, and a ring of slots for
// each ordered pair of ranks. Included by comm/shared_memory_*.cc only. Zeroed memory is silent and empty.
//
// Memory order. A ring has one sender and one receiver, and each writes only its own counter. What the sender
// wrote into a slot happens before its release of `filled`, which the receiver acquires before it reads; what
// the receiver read happens before its release of `emptied`, which the sender acquires before it writes the
// slot again. So no byte of a slot is written while the other side looks at it.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "comm/communicator.h"

namespace longspan {

inline constexpr size_t kCacheLine = 64;
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

// One direction between two ranks: this, then its slots.
struct alignas(kCacheLine) Ring {
  static constexpr uint64_t kSlots = 4;

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

// Where a rank sleeps until a peer has done something.
class alignas(kCacheLine) Doorbell {
 public:
  // Called after a change that the owner may be waiting for.
  void Ring() {
    // Of two sequentially consistent fences one is first: either the owner's look() comes after this change
    // and finds it, or this load comes after the owner's store and finds that it sleeps.
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
      // A ring since the first line makes the system return at once.
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

// How doorbells, by rank, and then rings, by sender and receiver, lie in the memory.
struct RingLayout {
  static constexpr size_t kMostSlotBytes = size_t{32} << 10;
  static constexpr size_t kMostBytes = size_t{64} << 20;

  RingLayout(int num_ranks, size_t wanted_slot_bytes) : ranks(num_ranks) {
    const size_t slots = static_cast<size_t>(ranks) * static_cast<size_t>(ranks) * Ring::kSlots;
    const size_t most = std::min({wanted_slot_bytes, kMostSlotBytes, kMostBytes / slots});
    slot_bytes = std::max(most / kCacheLine, size_t{1}) * kCacheLine;
  }

  size_t slot_stride() const { return sizeof(Ring::Slot) + slot_bytes; }
  size_t ring_stride() const { return sizeof(Ring) + Ring::kSlots * slot_stride(); }
  size_t rings_begin() const { return static_cast<size_t>(ranks) * sizeof(Doorbell); }
  size_t total_bytes() const {
    return rings_begin() + static_cast<size_t>(ranks) * static_cast<size_t>(ranks) * ring_stride();
  }
  std::byte* RingOf(std::byte* memory, int from, int to) const {
    return memory + rings_begin() + static_cast<size_t>(from * ranks + to) * ring_stride();
  }

  int ranks;
  size_t slot_bytes;
};

}  // namespace longspan
