// Memory, streams and copies of one device.
//
// The model is CUDA's: work launched on a stream runs later, in order; memory of a device may be touched only
// by work launched on one of its streams. The CPU device runs everything at once, but code above this seam
// must not rely on that: it reads results only after Synchronize.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

// An ordered queue of work. Owned by whoever created it; used by one thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;

  // Runs `work` on a thread that may read and write device memory, after all earlier work of this stream.
  // What it captures must stay valid until then. A communicator without native streams (MPI) orders its
  // collectives this way. A work's error is reported by the next Synchronize.
  template <typename Work>
  void Launch(Work&& work) {
    static_assert(std::is_same_v<std::invoke_result_t<Work&>, absl::Status>);
    if (runs_inline_) {
      Record(work());
    } else {
      Enqueue(std::function<absl::Status()>(std::forward<Work>(work)));
    }
  }

  // Address at which launched work finds the byte that the rest of the program knows as `device_address`.
  virtual void* WorkAddress(void* device_address) const { return device_address; }
  const void* WorkAddress(const void* device_address) const {
    return WorkAddress(const_cast<void*>(device_address));
  }

  // Waits for all work launched so far. Returns the first error since the last call.
  virtual absl::Status Synchronize() = 0;

 protected:
  explicit Stream(bool runs_inline) : runs_inline_(runs_inline) {}

  virtual void Enqueue(std::function<absl::Status()> work) = 0;
  // Keeps the first error for Synchronize.
  void Record(absl::Status status) {
    if (error_.ok()) error_.Update(std::move(status));
  }
  absl::Status TakeError() { return std::exchange(error_, absl::OkStatus()); }

 private:
  const bool runs_inline_;
  absl::Status error_;
};

// A range of device memory, freed when destroyed. Work that uses it must have finished by then.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(void* data, size_t bytes, std::function<void(void*, size_t)> release)
      : data_(data), bytes_(bytes), release_(std::move(release)) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr) release_(data_, bytes_);
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }  // a device address
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::function<void(void*, size_t)> release_;
};

// Thread-safe.
class Device {
 public:
  virtual ~Device() = default;

  // Memory aligned to 64 bytes at least, zeroed. ResourceExhausted when there is not enough.
  virtual absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) = 0;
  virtual std::unique_ptr<Stream> NewStream() = 0;

  // Copies in stream order. Host memory must stay valid until the stream is synchronized.
  virtual void CopyToDevice(Stream& stream, void* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(Stream& stream, void* host, const void* device, size_t bytes) = 0;
  // Where the host can read this device memory, once a stream that writes it is synchronized, without a copy.
  // Null where it cannot.
  virtual const void* HostView(const void* /*device*/) const { return nullptr; }
};

}  // namespace longspan
