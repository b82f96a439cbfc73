// Host memory as a device: work runs at once, on the caller's thread.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace longspan {

class CpuDevice final : public Device {
 public:
  // Large allocations are aligned for huge pages, which halve the cost of streaming through weights and KV.
  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override;
  std::unique_ptr<Stream> NewStream() override;
  void CopyToDevice(Stream& stream, void* device, const void* host, size_t bytes) override;
  void CopyToHost(Stream& stream, void* host, const void* device, size_t bytes) override;
  const void* HostView(const void* device) const override { return device; }
};

}  // namespace longspan
