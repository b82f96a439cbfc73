// Matrix products with packed weights (packed_layout.h), one source for every instruction set.
//
// For each output lane and each row of activations the operations and their order are the same whatever the
// number of rows in a tile, so a row's result does not depend on its batch.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/simd.h"
#include "kernels/numerics.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr int kMaxLeafDepth = 7;  // up to 64 leaves
inline constexpr int kPrefetchBytes =
    2048;  // ahead of the group in work: hides memory latency behind a few groups

// Sums of leaves merge as neighbours: a binary counter of partial sums.
template <int kRows>
class LeafTree {
 public:
  void Push(const F32* leaf) {
    for (int r = 0; r < kRows; ++r) stack_[depth_][r] = leaf[r];
    ++depth_;
    for (int due = MergesDue(pushed_++); due > 0; --due) MergeTop();
  }
  void Finish(F32* out) {
    while (depth_ > 1) MergeTop();
    for (int r = 0; r < kRows; ++r) out[r] = stack_[0][r];
  }

 private:
  void MergeTop() {
    --depth_;
    for (int r = 0; r < kRows; ++r) stack_[depth_ - 1][r] = Add(stack_[depth_ - 1][r], stack_[depth_][r]);
  }
  F32 stack_[kMaxLeafDepth][kRows];
  int depth_ = 0;
  int pushed_ = 0;
};

template <int kRows>
inline void StoreTile(const LinearArgs& args, int64_t panel, int64_t row, const F32* sums) {
  const int64_t first = panel * kPanelRows;
  const int64_t lanes = args.outputs - first < kPanelRows ? args.outputs - first : kPanelRows;
  for (int r = 0; r < kRows; ++r) {
    float* out = args.out + (row + r) * args.out_stride + first;
    if (lanes == kPanelRows) {
      Store(out, sums[r]);
    } else {
      StoreLanes(out, sums[r], static_cast<int>(lanes));
    }
  }
}

// The eight byte vectors of a group: vector k holds columns 4k..4k+3 of each lane.
template <int kBits>
inline void ExpandQuants(const uint8_t* p, Bytes* w) {
  if constexpr (kBits == 8) {
    for (int k = 0; k < 8; ++k) w[k] = LoadBytes(p + 64 * k);
  } else {
    for (int k = 0; k < 4; ++k) {
      const Bytes v = LoadBytes(p + 64 * k);
      w[k] = LowNibbles(v);
      w[k + 4] = HighNibbles(v);
    }
    if constexpr (kBits == 5) {
      for (int k = 0; k < 8; ++k) {
        uint64_t bits;
        __builtin_memcpy(&bits, p + 256 + 8 * k, sizeof bits);
        w[k] = AddSixteenWhere(w[k], bits);
      }
    } else if constexpr (kBits == 6) {
      for (int half = 0; half < 2; ++half) {
        const Bytes fields = LoadBytes(p + 256 + 64 * half);
        w[4 * half] = AddTwoBits<0>(w[4 * half], fields);
        w[4 * half + 1] = AddTwoBits<1>(w[4 * half + 1], fields);
        w[4 * half + 2] = AddTwoBits<2>(w[4 * half + 2], fields);
        w[4 * half + 3] = AddTwoBits<3>(w[4 * half + 3], fields);
      }
    }
  }
}

inline const uint16_t* Halves(const uint8_t* p) { return reinterpret_cast<const uint16_t*>(p); }

// Walks the groups of a panel of one block format, decoding scales.
template <int kBits, int kOffset, ScaleKind kScale>
struct BlockReader {
  static constexpr BlockFormat kFormat = {kBits, kOffset, kScale};
  static constexpr int kGroupBytes = GroupBytes(kFormat);
  static constexpr bool kHasMin = kScale == ScaleKind::kPlainMin || kScale == ScaleKind::kSuperMin;
  static constexpr bool kHalves = kScale == ScaleKind::kSuperHalves;

  const uint8_t* p;
  int phase;
  F32 super_scale, super_min;  // of the current super-block
  F32 scale[2];                // of columns 0..15 and 16..31; equal unless kHalves
  F32 minimum;                 // added to every weight of the group

  BlockReader(const uint8_t* panel, int super_phase) : p(panel), phase(super_phase) {
    if (HasSuperBlocks(kFormat)) ReadSuper();
  }
  void ReadSuper() {
    super_scale = LoadF16(Halves(p));
    if constexpr (kScale == ScaleKind::kSuperMin) super_min = LoadF16(Halves(p + 32));
    p += SuperBytes(kFormat);
  }
  void ReadScales() {
    const uint8_t* s = p + QuantBytes(kFormat);
    if constexpr (kScale == ScaleKind::kPlain || kScale == ScaleKind::kPlainMin) {
      scale[0] = LoadF16(Halves(s));
      if constexpr (kHasMin) minimum = LoadF16(Halves(s + 32));
    } else if constexpr (kScale == ScaleKind::kSuperMin) {
      scale[0] = Mul(super_scale, ToF32(LoadU8AsI32(s)));
      minimum = Sub(Zero(), Mul(super_min, ToF32(LoadU8AsI32(s + 16))));
    } else {
      scale[0] = Mul(super_scale, ToF32(LoadS8AsI32(reinterpret_cast<const int8_t*>(s))));
      scale[1] = Mul(super_scale, ToF32(LoadS8AsI32(reinterpret_cast<const int8_t*>(s + 16))));
    }
  }
  void Next(bool more) {
    p += GroupBytes(kFormat);
    if (HasSuperBlocks(kFormat) && ++phase == kGroupsPerSuper) {
      phase = 0;
      if (more) ReadSuper();
    }
  }
};

// One group of a tile with int8 activations: f[r] += weights · activations of row r.
template <int kRows, typename Reader>
inline void Int8Group(const Reader& reader, const int32_t* quants, const float* scales,
                      const int32_t* half_sums, F32* f) {
  Bytes w[8];
  ExpandQuants<Reader::kFormat.bits>(reader.p, w);
  I32 low[kRows], high[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    low[r] = ISet1(-Reader::kFormat.offset * half_sums[r]);
    high[r] = ISet1(-Reader::kFormat.offset * half_sums[kRows + r]);
  }
  if constexpr (kRows <= 2 || Reader::kHalves) {
    // Two chains: apart because each half has its scale, or to hide latency with few rows. Integers add
    // exactly.
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        low[r] = DotAdd(low[r], w[k], quants[k * kRows + r]);
        high[r] = DotAdd(high[r], w[k + 4], quants[(k + 4) * kRows + r]);
      }
    }
    if constexpr (!Reader::kHalves) {
      for (int r = 0; r < kRows; ++r) low[r] = IAdd(low[r], high[r]);
    }
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      low[r] = ISet1(-Reader::kFormat.offset * (half_sums[r] + half_sums[kRows + r]));
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) low[r] = DotAdd(low[r], w[k], quants[k * kRows + r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const F32 activation_scale = Set1(scales[r]);
    f[r] = Fma(Mul(ToF32(low[r]), reader.scale[0]), activation_scale, f[r]);
    if constexpr (Reader::kHalves) f[r] = Fma(Mul(ToF32(high[r]), reader.scale[1]), activation_scale, f[r]);
    if constexpr (Reader::kHasMin) {
      const float sum = static_cast<float>(half_sums[r] + half_sums[kRows + r]) * scales[r];
      f[r] = Fma(reader.minimum, Set1(sum), f[r]);
    }
  }
}

// The weights of a group as float32: w[column] holds 16 lanes.
template <typename Reader>
inline void ExpandFloats(const Reader& reader, F32* w) {
  Bytes q[8];
  ExpandQuants<Reader::kFormat.bits>(reader.p, q);
  const float offset = static_cast<float>(Reader::kFormat.offset);
  for (int k = 0; k < 8; ++k) {
    const F32 scale = reader.scale[Reader::kHalves ? k / 4 : 0];
    F32* out = w + 4 * k;
    out[0] = Mul(ByteToF32<0>(q[k], offset), scale);
    out[1] = Mul(ByteToF32<1>(q[k], offset), scale);
    out[2] = Mul(ByteToF32<2>(q[k], offset), scale);
    out[3] = Mul(ByteToF32<3>(q[k], offset), scale);
    if constexpr (Reader::kHasMin) {
      for (int j = 0; j < 4; ++j) out[j] = Add(out[j], reader.minimum);
    }
  }
}

// Plain formats behave as block formats without scales.
template <DType kType>
struct PlainReader {
  static constexpr bool kHalves = false;
  static constexpr int kGroupBytes = kPanelRows * kQuantGroup * (kType == DType::kF32 ? 4 : 2);
  const uint8_t* p;
  PlainReader(const uint8_t* panel, int) : p(panel) {}
  void ReadScales() {}
  void Next(bool) { p += kGroupBytes; }
};

template <DType kType>
inline void ExpandFloats(const PlainReader<kType>& reader, F32* w) {
  for (int k = 0; k < kQuantGroup; ++k) {
    if constexpr (kType == DType::kF32) {
      w[k] = Load(reinterpret_cast<const float*>(reader.p) + kPanelRows * k);
    } else if constexpr (kType == DType::kF16) {
      w[k] = LoadF16(Halves(reader.p) + kPanelRows * k);
    } else if (k % 2 == 0) {
      LoadBf16Pairs(Halves(reader.p) + kPanelRows * k, w[k], w[k + 1]);
    }
  }
}

// One group with float activations. Even and odd columns have a chain each, joined at the end of the leaf.
template <int kRows>
inline void FloatGroup(const F32* w, const float* x, F32* even, F32* odd) {
#pragma GCC unroll 4
  for (int k = 0; k < kQuantGroup; k += 2) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) even[r] = Fma(w[k], Set1(x[k * kRows + r]), even[r]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) odd[r] = Fma(w[k + 1], Set1(x[(k + 1) * kRows + r]), odd[r]);
  }
}

template <int kRows, typename Reader, bool kInt8>
void PanelTile(const LinearArgs& args, int64_t panel, int64_t row) {
  Reader reader(args.panels + static_cast<size_t>(panel) * args.panel_bytes, args.super_phase);
  const int64_t groups = args.groups;
  const int64_t first_group = row * args.x.groups;  // of the tile's activations

  F32 f[kRows], odd[kRows];
  LeafTree<kRows> tree;
  int64_t g = 0;
  for (int leaf = 0; leaf < args.leaves; ++leaf) {
    for (int r = 0; r < kRows; ++r) f[r] = odd[r] = Zero();
    for (; g < args.leaf_ends[leaf]; ++g) {
      for (int line = 0; line < Reader::kGroupBytes; line += 64) Prefetch(reader.p + kPrefetchBytes + line);
      reader.ReadScales();
      if constexpr (kInt8) {
        const int64_t at = first_group + g * kRows;
        Int8Group<kRows>(reader, args.x.quants + at * 8, args.x.scales + at, args.x.half_sums + at * 2, f);
      } else {
        F32 w[kQuantGroup];
        ExpandFloats(reader, w);
        FloatGroup<kRows>(w, args.x.values + (first_group + g * kRows) * kQuantGroup, f, odd);
      }
      reader.Next(g + 1 < groups);
    }
    if constexpr (!kInt8) {
      for (int r = 0; r < kRows; ++r) f[r] = Add(f[r], odd[r]);
    }
    if (args.leaves == 1) break;
    tree.Push(f);
  }
  if (args.leaves > 1) tree.Finish(f);
  StoreTile<kRows>(args, panel, row, f);
}

template <typename Reader, bool kInt8>
void LinearPanels(const LinearArgs& args, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel) {
    for (int64_t row = 0; row < args.x.rows;) {
      const int rows = TileRows(args.x.rows - row);
      if (rows == 8) {
        PanelTile<8, Reader, kInt8>(args, panel, row);
      } else if (rows == 4) {
        PanelTile<4, Reader, kInt8>(args, panel, row);
      } else if (rows == 2) {
        PanelTile<2, Reader, kInt8>(args, panel, row);
      } else {
        PanelTile<1, Reader, kInt8>(args, panel, row);
      }
      row += rows;
    }
  }
}

template <typename Reader>
void WeightRow(const LinearArgs& args, int64_t row, int64_t columns, float scale, float* out) {
  Reader reader(args.panels + static_cast<size_t>(row / kPanelRows) * args.panel_bytes, args.super_phase);
  const int lane = static_cast<int>(row % kPanelRows);
  for (int64_t g = 0; g < args.groups; ++g) {
    F32 w[kQuantGroup];
    reader.ReadScales();
    ExpandFloats(reader, w);
    for (int k = 0; k < kQuantGroup && g * kQuantGroup + k < columns; ++k) {
      float lanes[kPanelRows];
      Store(lanes, w[k]);
      out[g * kQuantGroup + k] = lanes[lane] * scale;
    }
    reader.Next(g + 1 < args.groups);
  }
}

// Calls `visit` with a reader type for the weight's format.
template <typename Visitor>
void WithReader(DType dtype, Visitor visit) {
  switch (dtype) {
    case DType::kF32:
      return visit.template operator()<PlainReader<DType::kF32>, true>();
    case DType::kF16:
      return visit.template operator()<PlainReader<DType::kF16>, true>();
    case DType::kBF16:
      return visit.template operator()<PlainReader<DType::kBF16>, true>();
#define LONGSPAN_BLOCK_CASE(type)                                                                        \
  case DType::type: {                                                                                    \
    constexpr BlockFormat kFormat = BlockFormatOf(DType::type);                                          \
    return visit.template operator()<BlockReader<kFormat.bits, kFormat.offset, kFormat.scale>, false>(); \
  }
      LONGSPAN_BLOCK_CASE(kQ4_0)
      LONGSPAN_BLOCK_CASE(kQ4_1)
      LONGSPAN_BLOCK_CASE(kQ5_0)
      LONGSPAN_BLOCK_CASE(kQ5_1)
      LONGSPAN_BLOCK_CASE(kQ8_0)
      LONGSPAN_BLOCK_CASE(kQ4_K)
      LONGSPAN_BLOCK_CASE(kQ5_K)
      LONGSPAN_BLOCK_CASE(kQ6_K)
#undef LONGSPAN_BLOCK_CASE
    default:
      return;
  }
}

inline void Linear(const LinearArgs& args, int64_t begin, int64_t end) {
  WithReader(args.dtype, [&]<typename Reader, bool kPlain>() {
    if constexpr (!kPlain) {
      if (args.int8_activations) return LinearPanels<Reader, true>(args, begin, end);
    }
    LinearPanels<Reader, false>(args, begin, end);
  });
}

inline void WeightRowOfAnyFormat(const LinearArgs& args, int64_t row, int64_t columns, float scale,
                                 float* out) {
  WithReader(args.dtype,
             [&]<typename Reader, bool kPlain>() { WeightRow<Reader>(args, row, columns, scale, out); });
}

}  // namespace longspan::LONGSPAN_ISA
