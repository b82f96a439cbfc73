#include "comm/shared_memory_bootstrap.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "comm/mpi_support.h"
#include "comm/shared_memory_links.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// What every blob begins with: its length, and as much of it as fits, which is all of most of them. The rest
// follows in an exchange of its own, whose sizes everybody then knows.
struct Head {
  static constexpr size_t kMostBytes = 504;

  void Fill(std::string_view blob) {
    blob_bytes = blob.size();
    std::memcpy(bytes.data(), blob.data(), size());
  }
  size_t size() const { return std::min(blob_bytes, kMostBytes); }
  size_t rest() const { return blob_bytes - size(); }
  std::span<std::byte> range() { return std::as_writable_bytes(std::span(this, 1)); }

  uint64_t blob_bytes = 0;
  std::array<char, kMostBytes> bytes;
};

class SharedMemoryBootstrap final : public Bootstrap {
 public:
  SharedMemoryBootstrap(const MpiEnvironment& environment, std::unique_ptr<SharedMemoryLinks> links)
      : environment_(environment),
        links_(std::move(links)),
        heads_(static_cast<size_t>(size())),
        sends_(static_cast<size_t>(size())),
        receives_(static_cast<size_t>(size())) {}

  int rank() const override { return links_->rank(); }
  int size() const override { return links_->size(); }
  const std::string& host() const override { return environment_.host(); }

  absl::Status Broadcast(std::string* blob, int root) override {
    LONGSPAN_CHECK(0 <= root && root < size());
    Head& head = heads_[static_cast<size_t>(root)];
    if (rank() == root) {
      LONGSPAN_CHECK(blob->size() <= kMaxBlobBytes);
      head.Fill(*blob);
    }
    LONGSPAN_RETURN_IF_ERROR(BroadcastRange(root, head.range()));
    if (rank() != root) {
      blob->assign(head.bytes.data(), head.size());
      blob->resize(head.blob_bytes);
    }
    if (head.rest() == 0) return absl::OkStatus();
    return BroadcastRange(root, std::as_writable_bytes(std::span(*blob)).subspan(head.size()));
  }

  absl::StatusOr<std::vector<std::string>> AllGather(std::string_view blob) override {
    LONGSPAN_CHECK(blob.size() <= kMaxBlobBytes);
    Head& own = heads_[static_cast<size_t>(rank())];
    own.Fill(blob);
    std::fill(sends_.begin(), sends_.end(), own.range());
    for (size_t r = 0; r < heads_.size(); ++r) receives_[r] = heads_[r].range();
    LONGSPAN_RETURN_IF_ERROR(links_->Exchange(CommOp::kAllGather, sends_, receives_));

    std::vector<std::string> all(heads_.size());
    std::fill(sends_.begin(), sends_.end(), std::as_bytes(std::span(blob)).subspan(own.size()));
    for (size_t r = 0; r < heads_.size(); ++r) {
      all[r].assign(heads_[r].bytes.data(), heads_[r].size());
      all[r].resize(heads_[r].blob_bytes);
      receives_[r] = std::as_writable_bytes(std::span(all[r])).subspan(heads_[r].size());
    }
    all[static_cast<size_t>(rank())] = blob;
    LONGSPAN_RETURN_IF_ERROR(links_->Exchange(CommOp::kAllGather, sends_, receives_));
    return all;
  }

  absl::Status Barrier() override { return links_->Barrier(); }

 private:
  absl::Status BroadcastRange(int root, std::span<std::byte> range) {
    std::fill(sends_.begin(), sends_.end(), std::span<const std::byte>());
    std::fill(receives_.begin(), receives_.end(), std::span<std::byte>());
    if (rank() == root) {
      std::fill(sends_.begin(), sends_.end(), range);
    } else {
      receives_[static_cast<size_t>(root)] = range;
    }
    return links_->Exchange(CommOp::kBroadcast, sends_, receives_);
  }

  const MpiEnvironment& environment_;
  const std::unique_ptr<SharedMemoryLinks> links_;
  std::vector<Head> heads_;  // by rank
  std::vector<std::span<const std::byte>> sends_;
  std::vector<std::span<std::byte>> receives_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Bootstrap>> CreateSharedMemoryBootstrap(const MpiEnvironment& environment) {
  LONGSPAN_ASSIGN_OR_RETURN(const OwnedMpiComm comm, OwnedMpiComm::Duplicate(MPI_COMM_WORLD));
  LONGSPAN_ASSIGN_OR_RETURN(const bool may_spin, HasCoreForEachRank(comm));
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<SharedMemoryLinks> links,
                            SharedMemoryLinks::Create(comm, environment.host(), may_spin, {}));
  return std::make_unique<SharedMemoryBootstrap>(environment, std::move(links));
}

}  // namespace longspan
