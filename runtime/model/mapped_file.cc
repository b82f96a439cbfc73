#include "runtime/model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

absl::Status SystemError(const std::string& path, const char* action, int error_number) {
  const std::string message = absl::StrCat(path, ": cannot ", action, ": ", std::strerror(error_number));
  if (error_number == ENOENT) return absl::NotFoundError(absl::StrCat(message, "; check the path"));
  if (error_number == EACCES) {
    return absl::PermissionDeniedError(absl::StrCat(message, "; give this user read permission"));
  }
  return absl::UnavailableError(message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK keeps the open of a named pipe from waiting for a writer; regular files ignore it.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError(path, "open", errno);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) {
    const int error_number = errno;
    ::close(descriptor);
    return SystemError(path, "stat", error_number);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file; give the path of a file"));
  }
  if (info.st_size == 0) {
    ::close(descriptor);
    return absl::InvalidArgumentError(absl::StrCat(path, ": is empty (0 bytes); copy or download it again"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error_number = errno;
  ::close(descriptor);
  if (address == MAP_FAILED) return SystemError(path, "map into memory", error_number);
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, std::span<const std::byte>(static_cast<const std::byte*>(address), size)));
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

void MappedFile::Release(std::span<const std::byte> range) const {
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(range.data());
  const uintptr_t end = begin + range.size();
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = end / page * page;
  // A failure leaves the pages resident, which costs memory and never correctness.
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace longspan
