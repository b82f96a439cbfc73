// The data plane of a group: collectives on device memory, in stream order.
//
// Every rank makes the same calls in the same order, with sizes that agree. A call launches its work on the
// stream and returns; it copies the arrays of sizes, while the device memory must stay valid until the stream
// has done the work. Addresses are device addresses; those of zero bytes may be null. Send and receive memory
// must not overlap, except that a rank may contribute its own part from where it will be received (in place).
// Errors: a returned status means that nothing was launched. A peer that is gone, or sizes that disagree, are
// reported by Stream::Synchronize; after that the communicator is unusable, and received memory must be
// neither read nor freed before the process ends. Wrong arguments are bugs (CHECK). With one rank a call
// copies locally where the addresses differ, and is not counted. Threads: one thread at a time, and one
// stream at a time. It must outlive what it launched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/device.h"

namespace longspan {

enum class CommOp : uint8_t { kAllGather, kAllToAll, kGather, kBroadcast, kBarrier };
inline constexpr int kNumCommOps = 5;

std::string_view Name(CommOp op);

// What a rank has launched so far, and the time of what is done, by CommOp.
struct CommCounters {
  std::array<uint64_t, kNumCommOps> bytes{};       // sent to other ranks
  std::array<uint64_t, kNumCommOps> operations{};  // calls, those with zero bytes too
  std::array<double, kNumCommOps> seconds{};       // transfer and waiting for peers alike

  void Count(CommOp op, uint64_t sent_bytes);
  CommCounters& operator+=(const CommCounters& other);
  uint64_t BytesOf(CommOp op) const { return bytes[static_cast<size_t>(op)]; }
  uint64_t OperationsOf(CommOp op) const { return operations[static_cast<size_t>(op)]; }
  uint64_t TotalBytes() const;
  uint64_t TotalOperations() const;
  double TotalSeconds() const;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Rank r contributes bytes_by_rank[r] bytes; `receive` holds all parts in rank order, on every rank.
  // Counted bytes: bytes_by_rank[rank] * (size - 1).
  virtual absl::Status AllGather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                                 Stream& stream) = 0;

  // `send` holds send_bytes[r] bytes for each rank r, `receive` gets receive_bytes[r] from each, both in rank
  // order. Counted bytes: the sum of send_bytes to other ranks.
  virtual absl::Status AllToAll(const void* send, std::span<const size_t> send_bytes, void* receive,
                                std::span<const size_t> receive_bytes, Stream& stream) = 0;

  // Like AllGather, received by `root` alone; elsewhere `receive` is ignored.
  // Counted bytes: bytes_by_rank[rank], at the root 0.
  virtual absl::Status Gather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                              int root, Stream& stream) = 0;

  // After it, `data` is on every rank what it was on `root`. Counted bytes: at the root bytes * (size - 1),
  // else 0.
  virtual absl::Status Broadcast(void* data, size_t bytes, int root, Stream& stream) = 0;

  // Work launched on the stream later runs after all ranks' streams have come here.
  virtual absl::Status Barrier(Stream& stream) = 0;

  // Collective, and waits for the peers. The ranks of equal color (>= 0) form a communicator, ordered by key,
  // then by rank in this one. No work of this communicator may be under way.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) = 0;

  // Of this communicator alone: one made by Split counts its own.
  virtual CommCounters counters() const = 0;
};

}  // namespace longspan
