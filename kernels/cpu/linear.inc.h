// Matrix products with packed weights (packed_layout.h), one source for every instruction set.
//
// For each output lane and each row of activations the operations and their order are the same whatever the
// number of rows, so a row's result does not depend on its batch: groups in order within a leaf, one
// chain of sums, leaves merged as neighbours. One, two or four rows read the panels directly; other numbers
// expand a chunk of a few panels once and multiply all their tiles with it.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/linear_tile.inc.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/weight_reader.inc.h"
#include "kernels/numerics.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr int kMaxLeafDepth = 7;  // up to 64 leaves

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

// out[row][lanes of the panel] = sum
inline void StoreSum(const LinearArgs& args, int64_t panel, int64_t row, F32 sum) {
  const int64_t first = panel * kPanelRows;
  const int64_t lanes = args.outputs - first < kPanelRows ? args.outputs - first : kPanelRows;
  float* out = args.out + row * args.out_stride + first;
  if (lanes == kPanelRows) {
    Store(out, sum);
  } else {
    StoreLanes(out, sum, static_cast<int>(lanes));
  }
}

// One group of a tile with int8 activations: f[r] += weights · activations of row r.
template <int kRows, typename Reader>
inline void Int8Group(const Reader& reader, const PackedActivations& x, int64_t at, F32* f) {
  Bytes w[8];
  ExpandQuants<Reader::kFormat.bits>(reader.p, w);
  const int32_t* quants = x.quants + at * 8;
  // Two chains: apart because each half has its scale, or to hide latency. Integers add exactly.
  I32 low[kRows], high[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    low[r] = ISet1(-Reader::kFormat.offset * x.low_sums[at + r]);
    high[r] = ISet1(-Reader::kFormat.offset * x.high_sums[at + r]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      low[r] = DotAdd(low[r], w[k], quants[k * kRows + r]);
      high[r] = DotAdd(high[r], w[k + 4], quants[(k + 4) * kRows + r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const F32 row_scale = Set1(x.scales[at + r]);
    if constexpr (Reader::kHalves) {
      f[r] = Fma(Mul(ToF32(low[r]), reader.scale[0]), row_scale, f[r]);
      f[r] = Fma(Mul(ToF32(high[r]), reader.scale[1]), row_scale, f[r]);
    } else {
      f[r] = Fma(Mul(ToF32(IAdd(low[r], high[r])), reader.scale[0]), row_scale, f[r]);
    }
    if constexpr (Reader::kHasMin) f[r] = Fma(reader.minimum, Set1(x.scaled_sums[at + r]), f[r]);
  }
}

template <int kRows, typename Reader>
inline void FloatGroup(const Reader& reader, const float* x, F32* f) {
  F32 w[kQuantGroup];
  ExpandFloats(reader, w);
#pragma GCC unroll 8
  for (int k = 0; k < kQuantGroup; ++k) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) f[r] = Fma(w[k], Set1(x[k * kRows + r]), f[r]);
  }
}

// All rows, which are one tile, with one panel.
template <int kRows, typename Reader, bool kInt8>
void DirectPanel(const LinearArgs& args, int64_t panel) {
  Reader reader(args.panels + static_cast<size_t>(panel) * args.panel_bytes, args.super_phase);
  F32 f[kRows];
  LeafTree<kRows> tree;
  int64_t g = 0;
  for (int leaf = 0; leaf < args.leaves; ++leaf) {
    for (int r = 0; r < kRows; ++r) f[r] = Zero();
    for (; g < args.leaf_ends[leaf]; ++g) {
      PrefetchAhead<Reader::kGroupBytes>(reader.p);
      reader.ReadScales();
      if constexpr (kInt8) {
        Int8Group<kRows>(reader, args.x, g * kRows, f);
      } else {
        FloatGroup<kRows>(reader, args.x.values + g * kRows * kQuantGroup, f);
      }
      reader.Next(g + 1 < args.groups);
    }
    if (args.leaves == 1) break;
    tree.Push(f);
  }
  if (args.leaves > 1) tree.Finish(f);
  for (int r = 0; r < kRows; ++r) StoreSum(args, panel, r, f[r]);
}

// Where the integer sums of `count` = groups * rows values begin, by unit: [units][count]. What the next tile
// needs, `next` values further on, is prefetched.
template <typename Reader>
inline void IntegerStarts(const PackedActivations& x, int64_t at, int count, int64_t next, int32_t* starts) {
  constexpr int kShift =
      __builtin_ctz(Reader::kFormat.offset | 1 << 30) % 30;  // offsets are powers of two, or zero
  const auto start = [](I32 sum) {
    return Reader::kFormat.offset == 0 ? ISet1(kMagicBits) : ISub(ISet1(kMagicBits), IShiftLeft<kShift>(sum));
  };
  for (int i = 0; i < count; i += 16) {  // the last step may go beyond the end: there is room
    Prefetch(x.low_sums + at + next + i);
    Prefetch(x.high_sums + at + next + i);
    Prefetch(x.scales + at + next + i);
    if constexpr (Reader::kHasMin) Prefetch(x.scaled_sums + at + next + i);
    const I32 low = ILoad(x.low_sums + at + i), high = ILoad(x.high_sums + at + i);
    if constexpr (Reader::kHalves) {
      IStore(starts + i, start(low));
      IStore(starts + kInt8ChunkGroups * kMaxTileRows + i, start(high));
    } else {
      IStore(starts + i, start(IAdd(low, high)));
    }
  }
}

// How many register tiles `rows` rows are.
template <int kMost>
inline int64_t RegisterTiles(int64_t rows) {
  return rows / 8 * (8 / kMost) + __builtin_popcountll(static_cast<uint64_t>(rows % 8));
}

// Where the next chunk of weights begins: where the readers stand or, at the panels' end, with the next ones.
template <int kPanels, typename Reader>
inline const uint8_t* NextChunk(const LinearArgs& args, int64_t end, const Reader& first) {
  return end < args.groups ? first.p : first.p + (kPanels - 1) * args.panel_bytes;
}

// Calls visit<rows, stride>(first row) for the register tiles of a tile of `rows` rows.
template <int kMost, typename Visitor>
inline void WithRegisterTiles(int rows, Visitor visit) {
  switch (rows) {
    case 8:
      for (int row = 0; row < 8; row += kMost) visit.template operator()<kMost, 8>(row);
      return;
    case 4:
      return visit.template operator()<4, 4>(0);
    case 2:
      return visit.template operator()<2, 2>(0);
    default:
      return visit.template operator()<1, 1>(0);
  }
}

// Expands groups [begin, end) of kPanels panels and adds their products to the sums of all rows,
// [row][panel][lane].
template <int kPanels, typename Reader>
inline void Int8ChunkOfAllRows(const LinearArgs& args, int64_t begin, int64_t end, Reader* readers,
                               const TileSums& sums) {
  constexpr int kUnits = Reader::kHalves ? 2 : 1;
  using Chunk = Int8Chunk<kPanels, kUnits, Reader::kFormat.bits == 8 ? Reader::kGroupBytes : 0>;
  alignas(64) Chunk chunk;
  const int groups = static_cast<int>(end - begin);
  for (int c = 0; c < kPanels; ++c) chunk.quants[c] = Chunk::kCopy ? chunk.copy[c][0] : readers[c].p;
  for (int g = 0; g < groups; ++g) {
    for (int c = 0; c < kPanels; ++c) {
      if constexpr (Chunk::kCopy) PrefetchNear<Reader::kGroupBytes>(readers[c].p);
      readers[c].ReadScales();
      ExpandGroup(readers[c], g, c, chunk);
      readers[c].Next(begin + g + 1 < args.groups);
    }
  }
  const PackedActivations& x = args.x;
  WeightsAhead<kPanels> ahead(
      NextChunk<kPanels>(args, end, readers[0]), args.panel_bytes, kInt8ChunkGroups * Reader::kGroupBytes,
      RegisterTiles<kInt8TileRows>(x.rows) * groups, x.rows <= kMostRowsOfNearWeights);
  alignas(64) int32_t starts[kUnits * kInt8ChunkGroups * kMaxTileRows];
  for (int64_t row = 0; row < x.rows;) {
    const int rows = TileRows(x.rows - row);
    const int64_t at = row * x.groups + begin * rows;
    IntegerStarts<Reader>(x, at, groups * rows, x.groups * rows, starts);
    WithRegisterTiles<kInt8TileRows>(rows, [&]<int kRows, int kStride>(int first) {
      const Int8Rows tile = {x.quants + at * 8 + first, x.scales + at + first, starts + first,
                             x.scaled_sums + at + first, x.quants + (at + x.groups * rows + first) * 8};
      Int8Tile<kRows, kStride, Reader::kHasMin>(chunk, groups, tile, ahead, sums.Of(row + first, kPanels));
    });
    row += rows;
  }
}

template <int kPanels, typename Reader>
inline void FloatChunkOfAllRows(const LinearArgs& args, int64_t begin, int64_t end, Reader* readers,
                                const TileSums& sums) {
  alignas(64) FloatChunk<kPanels> chunk;
  const int columns = static_cast<int>(end - begin) * kQuantGroup;
  for (int64_t g = begin; g < end; ++g) {
    for (int c = 0; c < kPanels; ++c) {
      PrefetchNear<Reader::kGroupBytes>(readers[c].p);
      F32 w[kQuantGroup];
      readers[c].ReadScales();
      ExpandFloats(readers[c], w);
      for (int k = 0; k < kQuantGroup; ++k) Store(chunk.values[(g - begin) * kQuantGroup + k][c], w[k]);
      readers[c].Next(g + 1 < args.groups);
    }
  }
  const PackedActivations& x = args.x;
  WeightsAhead<kPanels> ahead(
      NextChunk<kPanels>(args, end, readers[0]), args.panel_bytes, kFloatChunkGroups * Reader::kGroupBytes,
      RegisterTiles<kRegisterTileRows>(x.rows) * columns / kFloatColumnsPerStep, /*near=*/false);
  for (int64_t row = 0; row < x.rows;) {
    const int rows = TileRows(x.rows - row);
    const float* values = x.values + (row * x.groups + begin * rows) * kQuantGroup;
    WithRegisterTiles<kRegisterTileRows>(rows, [&]<int kRows, int kStride>(int first) {
      FloatTile<kRows, kStride>(chunk, columns, values + first, values + x.groups * rows * kQuantGroup, ahead,
                                sums.Of(row + first, kPanels));
    });
    row += rows;
  }
}

// kPanels panels from `panel` on, for all rows. sums: LinearSumFloats(args).
template <int kPanels, typename Reader, bool kInt8>
void ChunkedPanels(const LinearArgs& args, int64_t panel, float* sums) {
  constexpr int64_t kChunkGroups = kInt8 ? kInt8ChunkGroups : kFloatChunkGroups;
  const uint8_t* panels = args.panels + static_cast<size_t>(panel) * args.panel_bytes;
  Reader readers[kPanels];
  for (int c = 0; c < kPanels; ++c) readers[c] = Reader(panels + c * args.panel_bytes, args.super_phase);
  const int64_t values = args.x.rows * kPanels * kPanelRows;  // of one leaf
  // A binary counter of partial sums, as LeafTree.
  int depth = 0;
  const auto merge_top = [&] {
    --depth;
    float* into = sums + (depth - 1) * values;
    for (int64_t i = 0; i < values; i += kPanelRows)
      Store(into + i, Add(Load(into + i), Load(into + values + i)));
  };
  int64_t g = 0;
  for (int leaf = 0; leaf < args.leaves; ++leaf) {
    const int64_t leaf_end = args.leaf_ends[leaf];
    int due = MergesDue(leaf);
    TileSums top = {sums + depth * values, /*fresh=*/true, nullptr};
    ++depth;
    if (g == leaf_end) {
      for (int64_t i = 0; i < values; i += kPanelRows) Store(top.sums + i, Zero());
    }
    while (g < leaf_end) {
      const int64_t end = leaf_end - g < kChunkGroups ? leaf_end : g + kChunkGroups;
      if (end == leaf_end && due > 0) {  // the first merge takes place while sums are in registers
        top.into = top.sums - values;
        --due;
        --depth;
      }
      if constexpr (kInt8) {
        Int8ChunkOfAllRows<kPanels>(args, g, end, readers, top);
      } else {
        FloatChunkOfAllRows<kPanels>(args, g, end, readers, top);
      }
      top.fresh = false;
      g = end;
    }
    for (; due > 0; --due) merge_top();
  }
  while (depth > 1) merge_top();
  for (int64_t row = 0; row < args.x.rows; ++row) {
    for (int c = 0; c < kPanels; ++c)
      StoreSum(args, panel + c, row, Load(sums + (row * kPanels + c) * kPanelRows));
  }
}

template <typename Reader, bool kInt8>
void LinearPanels(const LinearArgs& args, int64_t begin, int64_t end, float* sums) {
  const int64_t rows = args.x.rows;
  for (int64_t panel = begin; panel < end;) {
    if (rows == 1) {
      DirectPanel<1, Reader, kInt8>(args, panel++);
    } else if (rows == 2) {
      DirectPanel<2, Reader, kInt8>(args, panel++);
    } else if (rows == 4) {
      DirectPanel<4, Reader, kInt8>(args, panel++);
    } else if (kMaxTilePanels >= 3 && end - panel >= 3) {
      ChunkedPanels<kMaxTilePanels, Reader, kInt8>(args, panel, sums);
      panel += kMaxTilePanels;
    } else if (kMaxTilePanels >= 2 && end - panel >= 2) {
      ChunkedPanels < kMaxTilePanels<2 ? 1 : 2, Reader, kInt8>(args, panel, sums);
      panel += 2;
    } else {
      ChunkedPanels<1, Reader, kInt8>(args, panel++, sums);
    }
  }
}

inline void Linear(const LinearArgs& args, int64_t begin, int64_t end, float* sums) {
  WithReader(args.dtype, [&]<typename Reader, bool kPlain>() {
    if constexpr (!kPlain) {
      if (args.int8_activations) return LinearPanels<Reader, true>(args, begin, end, sums);
    }
    LinearPanels<Reader, false>(args, begin, end, sums);
  });
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

inline void WeightRowOfAnyFormat(const LinearArgs& args, int64_t row, int64_t columns, float scale,
                                 float* out) {
  WithReader(args.dtype,
             [&]<typename Reader, bool kPlain>() { WeightRow<Reader>(args, row, columns, scale, out); });
}

}  // namespace longspan::LONGSPAN_ISA
