// Small arrays of one step, gathered on the host and sent to the device in one copy.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/device.h"

namespace longspan {

class StagingBuffer {
 public:
  // Starts a new step. The stream of the last Upload must have been synchronized.
  void Clear() { host_.clear(); }

  // Returns the array's place, which At turns into a device address after Upload.
  template <typename T>
  size_t Append(std::span<const T> values) {
    constexpr size_t kAlignment = 64;
    const size_t place = (host_.size() + kAlignment - 1) / kAlignment * kAlignment;
    host_.resize(place + values.size_bytes());
    if (!values.empty()) std::memcpy(host_.data() + place, values.data(), values.size_bytes());
    return place;
  }
  template <typename T>
  size_t Append(const std::vector<T>& values) {
    return Append(std::span<const T>(values));
  }

  absl::Status Upload(Device& device, Stream& stream) {
    if (device_.bytes() < host_.size()) {
      absl::StatusOr<DeviceBuffer> larger = device.Allocate(2 * host_.size());
      if (!larger.ok()) return larger.status();
      device_ = *std::move(larger);
    }
    device.CopyToDevice(stream, device_.data(), host_.data(), host_.size());
    return absl::OkStatus();
  }

  template <typename T>
  const T* At(size_t place) const {
    return reinterpret_cast<const T*>(device_.data() + place);
  }

 private:
  std::vector<std::byte> host_;
  DeviceBuffer device_;
};

}  // namespace longspan
