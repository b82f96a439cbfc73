// The control plane of a group: which rank this is, and exchange of small blobs of host memory.
//
// All calls that reach peers are collective: every rank makes the same calls in the same order. They wait for
// the peers, for as long as it takes, without keeping a core busy. An error means that a peer is gone or
// unreachable: the group is unusable and its processes should end. A blob may be empty and has at most
// kMaxBlobBytes (CHECK). Threads: one thread at a time; it may be another one than uses the group's
// Communicator.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

class Bootstrap {
 public:
  static constexpr size_t kMaxBlobBytes = size_t{1} << 30;

  virtual ~Bootstrap() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Name of the machine that this rank runs on.
  virtual const std::string& host() const = 0;

  // After it, *blob is on every rank what it was on `root`.
  virtual absl::Status Broadcast(std::string* blob, int root) = 0;
  // What every rank passed, by rank.
  virtual absl::StatusOr<std::vector<std::string>> AllGather(std::string_view blob) = 0;
  virtual absl::Status Barrier() = 0;
};

}  // namespace longspan
