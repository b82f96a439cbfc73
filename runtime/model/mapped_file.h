// A file mapped read-only into memory.
//
// Ownership: the mapping lives as long as the object; views into it must not outlive it.
// Threads: all methods may be called from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace longspan {

class MappedFile {
 public:
  // Errors name the path and the reason: missing, not a regular file, unreadable, empty.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Drops the pages that lie wholly inside `range` from this process's resident set. The bytes stay
  // readable; they are read from the page cache again when touched.
  void Release(std::span<const std::byte> range) const;

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes) : path_(std::move(path)), bytes_(bytes) {}

  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace longspan
