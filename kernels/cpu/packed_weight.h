// A weight repacked for the CPU kernels; see packed_layout.h.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/thread_pool.h"

namespace longspan {

class PackedWeight final : public Weight {
 public:
  static absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const WeightSlice& slice, Device& device,
                                                            ThreadPool& threads);

  int64_t rows() const override { return rows_; }
  int64_t columns() const override { return columns_; }
  size_t bytes() const override { return buffer_.bytes(); }

  DType dtype() const { return dtype_; }
  const uint8_t* panels() const { return reinterpret_cast<const uint8_t*>(buffer_.data()); }
  size_t panel_bytes() const { return panel_bytes_; }
  int64_t num_panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  int64_t groups() const { return groups_; }
  int super_phase() const { return super_phase_; }
  const std::vector<int64_t>& leaf_ends() const { return leaf_ends_; }

 private:
  PackedWeight() = default;

  DType dtype_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  int64_t groups_ = 0;
  int super_phase_ = 0;
  size_t panel_bytes_ = 0;
  std::vector<int64_t> leaf_ends_;
  DeviceBuffer buffer_;
};

}  // namespace longspan
