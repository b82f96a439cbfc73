#include "comm/host_communicator.h"

#include <chrono>
#include <cstring>
#include <numeric>

#include "kernels/check.h"

namespace longspan {

HostCommunicator::HostCommunicator(int rank, int size) : rank_(rank), size_(size) {
  LONGSPAN_CHECK(0 <= rank && rank < size);
}

CommCounters HostCommunicator::counters() const {
  CommCounters counters = counters_;
  for (size_t op = 0; op < nanoseconds_.size(); ++op) {
    counters.seconds[op] = 1e-9 * static_cast<double>(nanoseconds_[op].load(std::memory_order_relaxed));
  }
  return counters;
}

template <typename Work>
absl::Status HostCommunicator::Timed(CommOp op, Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  absl::Status status = work();
  const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - begin;
  nanoseconds_[static_cast<size_t>(op)].fetch_add(time.count(), std::memory_order_relaxed);
  return status;
}

HostCommunicator::Ranges<HostCommunicator::ReceiveRange> HostCommunicator::Cut(void* base,
                                                                               std::span<const size_t> bytes,
                                                                               const Stream& stream) {
  Ranges<ReceiveRange> ranges(bytes.size());
  const size_t total = std::accumulate(bytes.begin(), bytes.end(), size_t{0});
  if (total == 0) return ranges;
  LONGSPAN_CHECK(base != nullptr);
  std::byte* begin = static_cast<std::byte*>(stream.WorkAddress(base));
  for (size_t r = 0; r < bytes.size(); ++r) {
    ranges[r] = ReceiveRange(begin, bytes[r]);
    begin += bytes[r];
  }
  return ranges;
}

HostCommunicator::Ranges<HostCommunicator::SendRange> HostCommunicator::Cut(const void* base,
                                                                            std::span<const size_t> bytes,
                                                                            const Stream& stream) {
  const Ranges<ReceiveRange> ranges = Cut(const_cast<void*>(base), bytes, stream);
  return Ranges<SendRange>(ranges.begin(), ranges.end());
}

void HostCommunicator::LaunchExchange(CommOp op, const Ranges<SendRange>& sends,
                                      const Ranges<ReceiveRange>& receives, Stream& stream) {
  if (size_ > 1) {
    uint64_t sent_bytes = 0;
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) sent_bytes += sends[static_cast<size_t>(r)].size();
    }
    counters_.Count(op, sent_bytes);
  }
  stream.Launch([this, op, sends, receives] {
    const SendRange from = sends[static_cast<size_t>(rank_)];
    const ReceiveRange to = receives[static_cast<size_t>(rank_)];
    if (!to.empty() && to.data() != from.data()) std::memcpy(to.data(), from.data(), to.size());
    return size_ == 1 ? absl::OkStatus() : Timed(op, [&] { return Exchange(op, sends, receives); });
  });
}

absl::Status HostCommunicator::AllGather(const void* send, std::span<const size_t> bytes_by_rank,
                                         void* receive, Stream& stream) {
  LONGSPAN_CHECK(bytes_by_rank.size() == static_cast<size_t>(size_));
  const size_t own_bytes = bytes_by_rank[static_cast<size_t>(rank_)];
  const SendRange own = Cut(send, {&own_bytes, 1}, stream)[0];
  LaunchExchange(CommOp::kAllGather, Ranges<SendRange>(bytes_by_rank.size(), own),
                 Cut(receive, bytes_by_rank, stream), stream);
  return absl::OkStatus();
}

absl::Status HostCommunicator::AllToAll(const void* send, std::span<const size_t> send_bytes, void* receive,
                                        std::span<const size_t> receive_bytes, Stream& stream) {
  LONGSPAN_CHECK(send_bytes.size() == static_cast<size_t>(size_));
  LONGSPAN_CHECK(receive_bytes.size() == static_cast<size_t>(size_));
  LONGSPAN_CHECK(send_bytes[static_cast<size_t>(rank_)] == receive_bytes[static_cast<size_t>(rank_)]);
  LaunchExchange(CommOp::kAllToAll, Cut(send, send_bytes, stream), Cut(receive, receive_bytes, stream),
                 stream);
  return absl::OkStatus();
}

absl::Status HostCommunicator::Gather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                                      int root, Stream& stream) {
  LONGSPAN_CHECK(bytes_by_rank.size() == static_cast<size_t>(size_));
  LONGSPAN_CHECK(0 <= root && root < size_);
  const size_t own_bytes = bytes_by_rank[static_cast<size_t>(rank_)];
  Ranges<SendRange> sends(bytes_by_rank.size());
  sends[static_cast<size_t>(root)] = Cut(send, {&own_bytes, 1}, stream)[0];
  LaunchExchange(
      CommOp::kGather, sends,
      rank_ == root ? Cut(receive, bytes_by_rank, stream) : Ranges<ReceiveRange>(bytes_by_rank.size()),
      stream);
  return absl::OkStatus();
}

absl::Status HostCommunicator::Broadcast(void* data, size_t bytes, int root, Stream& stream) {
  LONGSPAN_CHECK(0 <= root && root < size_);
  const ReceiveRange range = Cut(data, {&bytes, 1}, stream)[0];
  Ranges<SendRange> sends(static_cast<size_t>(size_));
  Ranges<ReceiveRange> receives(static_cast<size_t>(size_));
  if (rank_ != root) {
    receives[static_cast<size_t>(root)] = range;
  } else {
    sends.assign(static_cast<size_t>(size_), range);
    sends[static_cast<size_t>(rank_)] = {};
  }
  LaunchExchange(CommOp::kBroadcast, sends, receives, stream);
  return absl::OkStatus();
}

absl::Status HostCommunicator::Barrier(Stream& stream) {
  if (size_ == 1) return absl::OkStatus();
  counters_.Count(CommOp::kBarrier, 0);
  stream.Launch([this] { return Timed(CommOp::kBarrier, [&] { return WaitForAll(); }); });
  return absl::OkStatus();
}

}  // namespace longspan
