#include "comm/faulty_communicator.h"

#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/seeded_draws.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> wrapped, const FaultyCommunicatorOptions& options)
      : wrapped_(std::move(wrapped)), options_(options) {}

  int rank() const override { return wrapped_->rank(); }
  int size() const override { return wrapped_->size(); }
  CommCounters counters() const override { return wrapped_->counters(); }

  absl::Status AllGather(const void* send, std::span<const size_t> bytes_by_rank, void* receive,
                         Stream& stream) override {
    LONGSPAN_RETURN_IF_ERROR(Disturb(CommOp::kAllGather, stream));
    return wrapped_->AllGather(send, bytes_by_rank, receive, stream);
  }

  absl::Status AllToAll(const void* send, std::span<const size_t> send_bytes, void* receive,
                        std::span<const size_t> receive_bytes, Stream& stream) override {
    LONGSPAN_RETURN_IF_ERROR(Disturb(CommOp::kAllToAll, stream));
    return wrapped_->AllToAll(send, send_bytes, receive, receive_bytes, stream);
  }

  absl::Status Gather(const void* send, std::span<const size_t> bytes_by_rank, void* receive, int root,
                      Stream& stream) override {
    LONGSPAN_RETURN_IF_ERROR(Disturb(CommOp::kGather, stream));
    return wrapped_->Gather(send, bytes_by_rank, receive, root, stream);
  }

  absl::Status Broadcast(void* data, size_t bytes, int root, Stream& stream) override {
    LONGSPAN_RETURN_IF_ERROR(Disturb(CommOp::kBroadcast, stream));
    return wrapped_->Broadcast(data, bytes, root, stream);
  }

  absl::Status Barrier(Stream& stream) override {
    LONGSPAN_RETURN_IF_ERROR(Disturb(CommOp::kBarrier, stream));
    return wrapped_->Barrier(stream);
  }

  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> child, wrapped_->Split(color, key));
    return CreateFaultyCommunicator(std::move(child), options_);
  }

 private:
  absl::Status Disturb(CommOp op, Stream& stream) {
    ++number_;
    constexpr uint64_t kFailure = 0;
    if (number_ == options_.fail_operation ||
        DrawFraction(options_.seed, kFailure, number_) < options_.fail_probability) {
      return absl::UnavailableError(absl::StrCat("rank ", rank(), ": operation ", number_, " (",
                                                 std::string(Name(op)), ") fails on purpose (seed ",
                                                 options_.seed, ")"));
    }
    if (options_.max_delay.count() > 0) {
      const uint64_t own_delays = 1 + static_cast<uint64_t>(rank());
      const std::chrono::microseconds delay(Draw(options_.seed, own_delays, number_) %
                                            static_cast<uint64_t>(options_.max_delay.count() + 1));
      stream.Launch([delay] {
        std::this_thread::sleep_for(delay);
        return absl::OkStatus();
      });
    }
    return absl::OkStatus();
  }

  const std::unique_ptr<Communicator> wrapped_;
  const FaultyCommunicatorOptions options_;
  uint64_t number_ = 0;  // of the latest operation
};

}  // namespace

std::unique_ptr<Communicator> CreateFaultyCommunicator(std::unique_ptr<Communicator> wrapped,
                                                       const FaultyCommunicatorOptions& options) {
  return std::make_unique<FaultyCommunicator>(std::move(wrapped), options);
}

}  // namespace longspan
