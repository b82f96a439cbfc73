#include "kernels/cpu/packed_weight.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "kernels/check.h"
#include "kernels/numerics.h"

namespace longspan {
namespace {

struct GroupScales {
  uint16_t scale = 0, minimum = 0;  // f16 bits, of the group or of its super-block
  uint8_t sub_scale[2] = {}, sub_minimum = 0;
};

uint16_t Half(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// The 6-bit scale and minimum of group j in the 12 packed bytes of Q4_K and Q5_K.
void SuperMinScales(const uint8_t* packed, int j, GroupScales& out) {
  if (j < 4) {
    out.sub_scale[0] = packed[j] & 63;
    out.sub_minimum = packed[j + 4] & 63;
  } else {
    out.sub_scale[0] = static_cast<uint8_t>((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4);
    out.sub_minimum = static_cast<uint8_t>((packed[j + 4] >> 4) | (packed[j] >> 6) << 4);
  }
}

void UnpackNibbles(const uint8_t* nibbles, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) {
    quants[i] = nibbles[i] & 15;
    quants[i + 16] = nibbles[i] >> 4;
  }
}

void AddFifthBits(const uint8_t* bits, uint8_t* quants) {
  uint32_t high;
  std::memcpy(&high, bits, sizeof high);
  for (int i = 0; i < 32; ++i) quants[i] = static_cast<uint8_t>(quants[i] | (high >> i & 1) << 4);
}

void UnpackQ6K(const uint8_t* block, int j, uint8_t* quants, GroupScales& scales) {
  const int half = j / 4, quarter = j % 4;
  const uint8_t* low = block + 64 * half + 32 * (quarter % 2);
  const uint8_t* high = block + 128 + 32 * half;
  for (int i = 0; i < 32; ++i) {
    const int nibble = quarter < 2 ? low[i] & 15 : low[i] >> 4;
    quants[i] = static_cast<uint8_t>(nibble | (high[i] >> (2 * quarter) & 3) << 4);
  }
  const uint8_t* sub_scales = block + 192 + 8 * half + 2 * quarter;
  scales.sub_scale[0] = sub_scales[0];
  scales.sub_scale[1] = sub_scales[1];
  scales.scale = Half(block + 208);
}

// Quants (unsigned) and scales of group `group` of a row in a file's block format.
void UnpackGroup(DType dtype, const uint8_t* row, int64_t group, uint8_t* quants, GroupScales& scales) {
  const DTypeTraits& traits = Traits(dtype);
  const int groups_per_block = traits.block_elements / kQuantGroup;
  const uint8_t* block = row + group / groups_per_block * traits.block_bytes;
  const int j = static_cast<int>(group % groups_per_block);
  scales.scale = Half(block);
  switch (dtype) {
    case DType::kQ4_0:
      return UnpackNibbles(block + 2, quants);
    case DType::kQ4_1:
      scales.minimum = Half(block + 2);
      return UnpackNibbles(block + 4, quants);
    case DType::kQ5_0:
      UnpackNibbles(block + 6, quants);
      return AddFifthBits(block + 2, quants);
    case DType::kQ5_1:
      scales.minimum = Half(block + 2);
      UnpackNibbles(block + 8, quants);
      return AddFifthBits(block + 4, quants);
    case DType::kQ8_0:
      for (int i = 0; i < 32; ++i) quants[i] = static_cast<uint8_t>(block[2 + i] ^ 0x80);
      return;
    case DType::kQ4_K:
    case DType::kQ5_K: {
      scales.minimum = Half(block + 2);
      SuperMinScales(block + 4, j, scales);
      const uint8_t* nibbles = block + (dtype == DType::kQ4_K ? 16 : 48) + 32 * (j / 2);
      for (int i = 0; i < 32; ++i) quants[i] = j % 2 == 0 ? nibbles[i] & 15 : nibbles[i] >> 4;
      if (dtype == DType::kQ5_K) {
        for (int i = 0; i < 32; ++i)
          quants[i] = static_cast<uint8_t>(quants[i] | (block[16 + i] >> j & 1) << 4);
      }
      return;
    }
    case DType::kQ6_K:
      return UnpackQ6K(block, j, quants, scales);
    default:
      LONGSPAN_CHECK(false);
  }
}

void StoreHalf(uint8_t* p, int lane, uint16_t value) { std::memcpy(p + 2 * lane, &value, sizeof value); }

// Writes one lane's quants into a zeroed group.
void PlaceQuants(BlockFormat format, const uint8_t* quants, int lane, uint8_t* group) {
  if (format.bits == 8) {
    for (int k = 0; k < 8; ++k) std::memcpy(group + 64 * k + 4 * lane, quants + 4 * k, 4);
    return;
  }
  for (int k = 0; k < 4; ++k) {
    for (int j = 0; j < 4; ++j) {
      const int low = quants[4 * k + j] & 15, high = quants[16 + 4 * k + j] & 15;
      group[64 * k + 4 * lane + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
  if (format.bits == 5) {
    for (int i = 0; i < 32; ++i) {
      const int bit = 4 * lane + i % 4;
      group[256 + 8 * (i / 4) + bit / 8] |= static_cast<uint8_t>((quants[i] >> 4) << bit % 8);
    }
  } else if (format.bits == 6) {
    for (int i = 0; i < 32; ++i) {
      const int k = i / 4;
      group[256 + 64 * (k / 4) + 4 * lane + i % 4] |= static_cast<uint8_t>((quants[i] >> 4) << 2 * (k % 4));
    }
  }
}

void PlaceScales(BlockFormat format, const GroupScales& s, int lane, uint8_t* scales, uint8_t* super_block) {
  switch (format.scale) {
    case ScaleKind::kPlainMin:
      StoreHalf(scales + 32, lane, s.minimum);
      [[fallthrough]];
    case ScaleKind::kPlain:
      return StoreHalf(scales, lane, s.scale);
    case ScaleKind::kSuperMin:
      scales[lane] = s.sub_scale[0];
      scales[16 + lane] = s.sub_minimum;
      StoreHalf(super_block, lane, s.scale);
      return StoreHalf(super_block + 32, lane, s.minimum);
    case ScaleKind::kSuperHalves:
      scales[lane] = s.sub_scale[0];
      scales[16 + lane] = s.sub_scale[1];
      return StoreHalf(super_block, lane, s.scale);
  }
}

void PackBlockPanel(DType dtype, const uint8_t* const* rows, int lanes, int64_t first_group, int64_t groups,
                    uint8_t* panel) {
  const BlockFormat format = BlockFormatOf(dtype);
  uint8_t* super_block = panel;
  uint8_t* p = panel;
  for (int64_t g = 0; g < groups; ++g) {
    if (HasSuperBlocks(format) && (g == 0 || (first_group + g) % kGroupsPerSuper == 0)) {
      super_block = p;
      p += SuperBytes(format);
    }
    for (int lane = 0; lane < lanes; ++lane) {
      uint8_t quants[kQuantGroup];
      GroupScales scales;
      UnpackGroup(dtype, rows[lane], first_group + g, quants, scales);
      PlaceQuants(format, quants, lane, p);
      PlaceScales(format, scales, lane, p + QuantBytes(format), super_block);
    }
    p += GroupBytes(format);
  }
}

// F32 and F16: [columns][16]. BF16: [columns / 2][16][2], because pairs expand with one shift and one mask.
// Columns are the outer loop, so that writes are contiguous. Safetensors promise no alignment.
template <typename T, bool kPairs>
void PackPlainPanel(const uint8_t* const* rows, int lanes, int64_t column_begin, int64_t columns,
                    uint8_t* panel) {
  for (int64_t c = 0; c < columns; ++c) {
    uint8_t* out = panel + sizeof(T) * static_cast<size_t>(kPairs ? c / 2 * 32 + c % 2 : c * kPanelRows);
    const size_t offset = sizeof(T) * static_cast<size_t>(column_begin + c);
    for (int lane = 0; lane < lanes; ++lane) {
      std::memcpy(out + sizeof(T) * static_cast<size_t>(kPairs ? 2 * lane : lane), rows[lane] + offset,
                  sizeof(T));
    }
  }
}

size_t PanelBytes(DType dtype, int64_t first_group, int64_t groups) {
  if (!IsBlockFormat(dtype)) {
    return static_cast<size_t>(groups * kQuantGroup * kPanelRows) *
           static_cast<size_t>(Traits(dtype).block_bytes);
  }
  const BlockFormat format = BlockFormatOf(dtype);
  size_t bytes = static_cast<size_t>(groups * GroupBytes(format));
  if (HasSuperBlocks(format) && groups > 0) {
    const int64_t supers = (first_group + groups - 1) / kGroupsPerSuper - first_group / kGroupsPerSuper + 1;
    bytes += static_cast<size_t>(supers * SuperBytes(format));
  }
  return (bytes + 63) / 64 * 64;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedWeight>> PackedWeight::Pack(const WeightSlice& slice, Device& device,
                                                                 ThreadPool& threads) {
  LONGSPAN_CHECK(slice.column_begin % kQuantGroup == 0);
  LONGSPAN_CHECK(!IsBlockFormat(slice.dtype) || slice.column_end % kQuantGroup == 0);
  auto weight = std::unique_ptr<PackedWeight>(new PackedWeight());
  weight->dtype_ = slice.dtype;
  weight->rows_ = slice.row_end - slice.row_begin;
  weight->columns_ = slice.column_end - slice.column_begin;
  weight->groups_ = NumQuantGroups(weight->columns_);
  weight->leaf_ends_ = slice.leaf_ends;
  if (weight->leaf_ends_.empty()) weight->leaf_ends_ = {weight->groups_};
  LONGSPAN_CHECK(weight->leaf_ends_.back() == weight->groups_);
  const int64_t first_group = slice.column_begin / kQuantGroup;
  weight->super_phase_ = static_cast<int>(first_group % kGroupsPerSuper);
  weight->panel_bytes_ = PanelBytes(slice.dtype, first_group, weight->groups_);

  absl::StatusOr<DeviceBuffer> buffer =
      device.Allocate(weight->panel_bytes_ * static_cast<size_t>(weight->num_panels()));
  if (!buffer.ok()) return buffer.status();
  weight->buffer_ = *std::move(buffer);
  if (weight->buffer_.bytes() == 0) return weight;

  const size_t row_bytes = RowBytes(slice.dtype, slice.file_columns);
  uint8_t* panels = reinterpret_cast<uint8_t*>(weight->buffer_.data());
  threads.For(weight->num_panels(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const uint8_t* rows[kPanelRows];
      const int64_t first = panel * kPanelRows;
      const int lanes = static_cast<int>(std::min<int64_t>(kPanelRows, weight->rows_ - first));
      for (int lane = 0; lane < lanes; ++lane) {
        const int64_t logical = slice.row_begin + first + lane;
        const int64_t row = slice.row_order.empty() ? logical : slice.row_order[static_cast<size_t>(logical)];
        rows[lane] = reinterpret_cast<const uint8_t*>(slice.data) + static_cast<size_t>(row) * row_bytes;
      }
      uint8_t* out = panels + static_cast<size_t>(panel) * weight->panel_bytes_;
      if (IsBlockFormat(slice.dtype)) {
        PackBlockPanel(slice.dtype, rows, lanes, first_group, weight->groups_, out);
      } else if (slice.dtype == DType::kF32) {
        PackPlainPanel<uint32_t, false>(rows, lanes, slice.column_begin, weight->columns_, out);
      } else if (slice.dtype == DType::kF16) {
        PackPlainPanel<uint16_t, false>(rows, lanes, slice.column_begin, weight->columns_, out);
      } else {
        PackPlainPanel<uint16_t, true>(rows, lanes, slice.column_begin, weight->columns_, out);
      }
    }
  });
  return weight;
}

}  // namespace longspan
