#include "comm/thread_bootstrap.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "comm/thread_barrier.h"
#include "kernels/check.h"

namespace longspan {
namespace {

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// What the ranks share. Between two barriers every rank may read what the others publish.
struct Hub {
  explicit Hub(int count) : blobs(static_cast<size_t>(count)), barrier(count) {}

  const std::string host = HostName();
  std::vector<std::string_view> blobs;  // by rank
  ThreadBarrier barrier;
};

class ThreadBootstrap final : public Bootstrap {
 public:
  ThreadBootstrap(int rank, std::shared_ptr<Hub> hub) : rank_(rank), hub_(std::move(hub)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_->blobs.size()); }
  const std::string& host() const override { return hub_->host; }

  absl::Status Broadcast(std::string* blob, int root) override {
    LONGSPAN_CHECK(0 <= root && root < size());
    if (rank_ == root) Publish(*blob);
    hub_->barrier.Wait();
    if (rank_ != root) *blob = hub_->blobs[static_cast<size_t>(root)];
    hub_->barrier.Wait();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> AllGather(std::string_view blob) override {
    Publish(blob);
    hub_->barrier.Wait();
    std::vector<std::string> all(hub_->blobs.begin(), hub_->blobs.end());
    hub_->barrier.Wait();
    return all;
  }

  absl::Status Barrier() override {
    hub_->barrier.Wait();
    return absl::OkStatus();
  }

 private:
  void Publish(std::string_view blob) {
    LONGSPAN_CHECK(blob.size() <= kMaxBlobBytes);
    hub_->blobs[static_cast<size_t>(rank_)] = blob;
  }

  const int rank_;
  const std::shared_ptr<Hub> hub_;
};

}  // namespace

std::vector<std::unique_ptr<Bootstrap>> CreateThreadBootstraps(int count) {
  LONGSPAN_CHECK(count >= 1);
  auto hub = std::make_shared<Hub>(count);
  std::vector<std::unique_ptr<Bootstrap>> ranks;
  for (int r = 0; r < count; ++r) ranks.push_back(std::make_unique<ThreadBootstrap>(r, hub));
  return ranks;
}

}  // namespace longspan
