// Memory that the processes of one host share. Included by comm/*.cc only.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "comm/mpi_support.h"

namespace longspan {

// A mapping, unmapped when destroyed. The memory has no name in any file system: it is gone when the last
// process that mapped it has ended, however it ended.
class SharedSegment {
 public:
  SharedSegment(SharedSegment&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
  }
  SharedSegment& operator=(SharedSegment&&) = delete;
  ~SharedSegment();

  // Collective over `comm`, whose ranks are processes of one host. All map the same zeroed memory, or all get
  // an error (the reason of one of them where it failed, else a general one).
  static absl::StatusOr<SharedSegment> Create(const OwnedMpiComm& comm, size_t bytes);

  std::byte* data() const { return data_; }

 private:
  SharedSegment(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_;
  size_t bytes_;
};

}  // namespace longspan
