#include "tests/support/hidden_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

constexpr size_t kPageBytes = 4096;

absl::Status SystemError(const char* what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<HiddenArena>> HiddenArena::Create(size_t bytes) {
  const int file = memfd_create("longspan-device-memory", MFD_CLOEXEC);
  if (file < 0) return SystemError("memfd_create");
  void* hidden = MAP_FAILED;
  void* alias = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) {
    hidden = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    alias = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
  }
  if (hidden == MAP_FAILED || alias == MAP_FAILED) {
    const absl::Status error = SystemError("mapping device memory");
    if (hidden != MAP_FAILED) munmap(hidden, bytes);
    close(file);
    return error;
  }
  return std::unique_ptr<HiddenArena>(
      new HiddenArena(file, static_cast<std::byte*>(hidden), static_cast<std::byte*>(alias), bytes));
}

HiddenArena::~HiddenArena() {
  munmap(hidden_, bytes_);
  munmap(alias_, bytes_);
  close(file_);
}

absl::StatusOr<std::byte*> HiddenArena::Allocate(size_t bytes) {
  const size_t needed = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  std::lock_guard lock(mutex_);
  size_t offset = 0;
  for (const auto& [begin, size] : used_) {
    if (begin - offset >= needed + kPageBytes) break;
    offset = begin + size + kPageBytes;  // an inaccessible page follows every allocation
  }
  if (offset > bytes_ || bytes_ - offset < needed) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no room for ", bytes, " bytes in the test device's ", bytes_, "; use a larger arena"));
  }
  if (mprotect(alias_ + offset, needed, PROT_READ | PROT_WRITE) != 0) return SystemError("mprotect");
  used_[offset] = needed;
  return hidden_ + offset;
}

void HiddenArena::Free(std::byte* device_address) {
  const auto offset = static_cast<size_t>(device_address - hidden_);
  std::lock_guard lock(mutex_);
  const auto allocation = used_.find(offset);
  LONGSPAN_CHECK(allocation != used_.end());
  const size_t size = allocation->second;
  LONGSPAN_CHECK(mprotect(alias_ + offset, size, PROT_NONE) == 0);
  // Gives the pages back, so that the next allocation finds zeros.
  LONGSPAN_CHECK(fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                           static_cast<off_t>(size)) == 0);
  used_.erase(allocation);
}

void* HiddenArena::WorkAddress(const void* device_address) const {
  if (device_address == nullptr) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(device_address),
             begin = reinterpret_cast<uintptr_t>(hidden_);
  LONGSPAN_CHECK(address >= begin && address <= begin + bytes_);  // not a device address
  return alias_ + (address - begin);
}

}  // namespace longspan
