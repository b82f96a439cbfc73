#include "comm/shared_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// An open file, closed when destroyed.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
};

absl::Status SystemError(const std::string& call) {
  return absl::FailedPreconditionError(absl::StrCat(call, ": ", std::strerror(errno)));
}

// -1 on failure, with errno.
int CreateFile(size_t bytes) {
  const int descriptor = memfd_create("longspan", MFD_CLOEXEC);
  if (descriptor < 0 || ftruncate(descriptor, static_cast<off_t>(bytes)) == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

}  // namespace

SharedSegment::~SharedSegment() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

absl::StatusOr<SharedSegment> SharedSegment::Create(const OwnedMpiComm& comm, size_t bytes) {
  // The lowest rank creates a file without a name; the others open it as a descriptor of that process.
  const bool creates = comm.rank() == 0;
  absl::Status status;
  int created = -1;
  if (creates) {
    created = CreateFile(bytes);
    if (created < 0) status = SystemError(absl::StrCat("memfd_create of ", bytes, " bytes"));
  }
  const File creator(created);
  std::array<int, 2> place = {static_cast<int>(getpid()), created};
  LONGSPAN_RETURN_IF_ERROR(MpiStatus(MPI_Bcast(place.data(), 2, MPI_INT, 0, comm.get()), "MPI_Bcast"));

  void* data = MAP_FAILED;
  if (place[1] >= 0) {
    const std::string path = absl::StrCat("/proc/", place[0], "/fd/", place[1]);
    const File opened(creates ? -1 : open(path.c_str(), O_RDWR | O_CLOEXEC));
    const int descriptor = creates ? created : opened.descriptor();
    if (descriptor < 0) {
      status = SystemError(absl::StrCat("open ", path));
    } else {
      data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
      if (data == MAP_FAILED) status = SystemError(absl::StrCat("mmap of ", bytes, " shared bytes"));
    }
  }
  // After this nobody needs the creator's descriptor any more.
  int mapped = data == MAP_FAILED ? 0 : 1;
  SharedSegment segment(mapped ? static_cast<std::byte*>(data) : nullptr, bytes);
  LONGSPAN_RETURN_IF_ERROR(
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &mapped, 1, MPI_INT, MPI_MIN, comm.get()), "MPI_Allreduce"));
  LONGSPAN_RETURN_IF_ERROR(status);
  if (!mapped) return absl::FailedPreconditionError("another rank could not map the shared memory");
  return segment;
}

}  // namespace longspan
