// What communicators without native streams have in common: a collective is an exchange of byte ranges
// between ranks, carried out by the thread that runs the stream's work, which waits for the peers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "comm/communicator.h"

namespace longspan {

class HostCommunicator : public Communicator {
 public:
  int rank() const final { return rank_; }
  int size() const final { return size_; }
  absl::Status AllGather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                         Stream& stream) final;
  absl::Status AllToAll(const void* send, std::span<const size_t> send_bytes, void* receive,
                        std::span<const size_t> receive_bytes, Stream& stream) final;
  absl::Status Gather(const void* send, std::span<const size_t> bytes_by_rank, void* receive, int root,
                      Stream& stream) final;
  absl::Status Broadcast(void* data, size_t bytes, int root, Stream& stream) final;
  absl::Status Barrier(Stream& stream) final;
  CommCounters counters() const final;

 protected:
  using SendRange = std::span<const std::byte>;
  using ReceiveRange = std::span<std::byte>;

  HostCommunicator(int rank, int size);

  // Sends sends[r] to each rank r and receives receives[r] from it, then returns. Both have size() entries,
  // and empty ranges are not sent; the own entries are to be ignored. Reports a rank whose range has another
  // size than was expected of it. Called with size() > 1, by one thread at a time.
  virtual absl::Status Exchange(CommOp op, std::span<const SendRange> sends,
                                std::span<const ReceiveRange> receives) = 0;
  // Returns when all ranks have called it.
  virtual absl::Status WaitForAll() = 0;

 private:
  // Without heap memory for as many ranks as that.
  static constexpr size_t kInlineRanks = 8;
  template <typename Range>
  using Ranges = absl::InlinedVector<Range, kInlineRanks>;

  // Cuts the memory at device address `base` into consecutive ranges, as the stream's work will address them.
  static Ranges<SendRange> Cut(const void* base, std::span<const size_t> bytes, const Stream& stream);
  static Ranges<ReceiveRange> Cut(void* base, std::span<const size_t> bytes, const Stream& stream);

  void LaunchExchange(CommOp op, const Ranges<SendRange>& sends, const Ranges<ReceiveRange>& receives,
                      Stream& stream);

  // Runs what a stream's work does for the operation, and adds up its time.
  template <typename Work>
  absl::Status Timed(CommOp op, Work&& work);

  const int rank_;
  const int size_;
  CommCounters counters_;  // without times
  std::array<std::atomic<int64_t>, kNumCommOps> nanoseconds_{};
};

}  // namespace longspan
