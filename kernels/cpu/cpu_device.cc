#include "kernels/cpu/cpu_device.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

class InlineStream final : public Stream {
 public:
  InlineStream() : Stream(/*runs_inline=*/true) {}
  absl::Status Synchronize() override { return TakeError(); }

 protected:
  void Enqueue(std::function<absl::Status()>) override { LONGSPAN_CHECK(false); }
};

}  // namespace

absl::StatusOr<DeviceBuffer> CpuDevice::Allocate(size_t bytes) {
  if (bytes == 0) return DeviceBuffer();
  // Memory comes zeroed from the system, and only what is touched becomes resident.
  const size_t slack = bytes >= kHugePageBytes ? kHugePageBytes : 0;
  const size_t mapped = bytes + slack;
  void* base =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes,
                                                     " bytes of memory: ", std::strerror(errno),
                                                     "; use a smaller model or --kv-bytes"));
  }
  uintptr_t data = reinterpret_cast<uintptr_t>(base);
  if (slack > 0) {
    data = (data + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    madvise(reinterpret_cast<void*>(data), bytes, MADV_HUGEPAGE);
  }
  return DeviceBuffer(reinterpret_cast<void*>(data), bytes,
                      [base, mapped](void*, size_t) { munmap(base, mapped); });
}

std::unique_ptr<Stream> CpuDevice::NewStream() { return std::make_unique<InlineStream>(); }

void CpuDevice::CopyToDevice(Stream& stream, void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void CpuDevice::CopyToHost(Stream& stream, void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

}  // namespace longspan
