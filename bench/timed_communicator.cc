#include "bench/timed_communicator.h"

#include <chrono>
#include <utility>

#include "kernels/status_macros.h"

namespace longspan::bench {
namespace {

class TimedCommunicator final : public Communicator {
 public:
  TimedCommunicator(std::unique_ptr<Communicator> wrapped, double* seconds)
      : wrapped_(std::move(wrapped)), seconds_(seconds) {}

  int rank() const override { return wrapped_->rank(); }
  int size() const override { return wrapped_->size(); }
  CommCounters counters() const override { return wrapped_->counters(); }

  absl::Status AllGather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                         Stream& stream) override {
    return Timed([&] { return wrapped_->AllGather(send, bytes_by_rank, receive, stream); });
  }
  absl::Status AllToAll(const void* send, std::span<const size_t> send_bytes, void* receive,
                        std::span<const size_t> receive_bytes, Stream& stream) override {
    return Timed([&] { return wrapped_->AllToAll(send, send_bytes, receive, receive_bytes, stream); });
  }
  absl::Status Gather(const void* send, std::span<const size_t> bytes_by_rank, void* receive, int root,
                      Stream& stream) override {
    return Timed([&] { return wrapped_->Gather(send, bytes_by_rank, receive, root, stream); });
  }
  absl::Status Broadcast(void* data, size_t bytes, int root, Stream& stream) override {
    return Timed([&] { return wrapped_->Broadcast(data, bytes, root, stream); });
  }
  absl::Status Barrier(Stream& stream) override {
    return Timed([&] { return wrapped_->Barrier(stream); });
  }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> child, wrapped_->Split(color, key));
    return CreateTimedCommunicator(std::move(child), seconds_);
  }

 private:
  template <typename Operation>
  absl::Status Timed(Operation operation) {
    const auto begin = std::chrono::steady_clock::now();
    absl::Status status = operation();
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return status;
  }

  const std::unique_ptr<Communicator> wrapped_;
  double* const seconds_;
};

}  // namespace

std::unique_ptr<Communicator> CreateTimedCommunicator(std::unique_ptr<Communicator> wrapped,
                                                      double* seconds) {
  return std::make_unique<TimedCommunicator>(std::move(wrapped), seconds);
}

}  // namespace longspan::bench
