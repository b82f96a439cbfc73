// Memory with two addresses: one that the program knows and cannot touch, and one where deferred work finds
// it.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"

namespace longspan {

// One file of memory, mapped twice. Device addresses are in a mapping that allows no access at all, so code
// that dereferences one dies. The other mapping allows access to what is allocated and to nothing else: what
// uses freed memory, or runs over into the page after an allocation, dies too. Thread-safe.
class HiddenArena {
 public:
  // Only what is touched becomes resident.
  static absl::StatusOr<std::unique_ptr<HiddenArena>> Create(size_t bytes);
  ~HiddenArena();
  HiddenArena(const HiddenArena&) = delete;
  HiddenArena& operator=(const HiddenArena&) = delete;

  // The device address of zeroed memory, aligned to a page. ResourceExhausted when there is none.
  absl::StatusOr<std::byte*> Allocate(size_t bytes);
  void Free(std::byte* device_address);

  // Where work finds a device address; null for null. A CHECK fails for any other address.
  void* WorkAddress(const void* device_address) const;

 private:
  HiddenArena(int file, std::byte* hidden, std::byte* alias, size_t bytes)
      : file_(file), hidden_(hidden), alias_(alias), bytes_(bytes) {}

  const int file_;
  std::byte* const hidden_;
  std::byte* const alias_;
  const size_t bytes_;
  std::mutex mutex_;
  std::map<size_t, size_t> used_;  // offset → bytes, whole pages; guarded by mutex_
};

}  // namespace longspan
