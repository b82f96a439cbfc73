// Tiles of a matrix product: rows of activations x panels of weights, accumulated over a chunk of columns
// whose weights have been expanded to bytes or float32 before, one source for every instruction set.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/weight_reader.inc.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr int kInt8ChunkGroups = 8;   // with kMaxTilePanels panels, weights and activations
inline constexpr int kFloatChunkGroups = 4;  // of a chunk stay in the first-level cache

inline constexpr int kFloatColumnsPerStep = 8;  // of WeightsAhead
// Up to so many rows leave room in the first-level cache for the next chunk.
inline constexpr int64_t kMostRowsOfNearWeights = 32;

// Integer sums start at kMagicBits - offset * (sum of activations): read as float32 they are then
// 3 * 2^22 + sum, exactly, and conversion and scale are one fused multiply-add. |sum| < 2^22 and scales have
// at most 19 significant bits, so the product is rounded once, as in Mul(ToF32(sum), scale).
inline constexpr int32_t kMagicBits = 0x4b400000;
inline constexpr float kMagic = 12582912.0f;

// Scales belong to units: a group of 32 columns, or half of one. Formats that are bytes already are not
// copied: kInPlaceBytes is what they have from one group to the next, and 0 for others.
template <int kPanels, int kUnits, int kInPlaceBytes>
struct Int8Chunk {
  static constexpr bool kCopy = kInPlaceBytes == 0;
  static constexpr int64_t kGroupBytes = kCopy ? 512 : kInPlaceBytes;

  const uint8_t* quants[kPanels];  // of the first group; each has 512, kGroupBytes apart
  alignas(64) uint8_t copy[kCopy ? kPanels : 1][kCopy ? kInt8ChunkGroups : 1][512];
  float scales[kInt8ChunkGroups][kUnits][kPanels][kPanelRows];
  float magic_scales[kInt8ChunkGroups][kUnits][kPanels][kPanelRows];  // -kMagic * scale
  float minima[kInt8ChunkGroups][kPanels][kPanelRows];
};

template <int kPanels>
struct FloatChunk {
  float values[kFloatChunkGroups * kQuantGroup][kPanels][kPanelRows];
};

template <int kPanels, int kUnits, int kInPlaceBytes, typename Reader>
inline void ExpandGroup(const Reader& reader, int group, int panel,
                        Int8Chunk<kPanels, kUnits, kInPlaceBytes>& chunk) {
  if constexpr (kInPlaceBytes == 0) {
    Bytes w[8];
    ExpandQuants<Reader::kFormat.bits>(reader.p, w);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) StoreBytes(chunk.copy[panel][group] + 64 * k, w[k]);
  }
  for (int u = 0; u < kUnits; ++u) {
    Store(chunk.scales[group][u][panel], reader.scale[u]);
    Store(chunk.magic_scales[group][u][panel], Mul(Set1(-kMagic), reader.scale[u]));
  }
  if constexpr (Reader::kHasMin) Store(chunk.minima[group][panel], reader.minimum);
}

// Where the sums of a tile's rows are: [row][panel][lane].
struct TileSums {
  float* sums;
  bool fresh;  // they begin at zero, whatever is there
  float*
      into;  // null or, of the leaf before, sums to which the finished ones are added instead of being kept

  TileSums Of(int64_t row, int panels) const {
    const int64_t at = row * panels * kPanelRows;
    return {sums + at, fresh, into == nullptr ? nullptr : into + at};
  }
};

template <int kRows, int kPanels>
[[gnu::always_inline]] inline void LoadTotals(const TileSums& at, F32 (&totals)[kRows][kPanels]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kPanels; ++c) {
      totals[r][c] = at.fresh ? Zero() : Load(at.sums + (r * kPanels + c) * kPanelRows);
    }
  }
}

template <int kRows, int kPanels>
[[gnu::always_inline]] inline void StoreTotals(const TileSums& at, const F32 (&totals)[kRows][kPanels]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kPanels; ++c) {
      const int i = (r * kPanels + c) * kPanelRows;
      if (at.into != nullptr) {
        Store(at.into + i, Add(Load(at.into + i), totals[r][c]));
      } else {
        Store(at.sums + i, totals[r][c]);
      }
    }
  }
}

// The int8 activations of some rows of a tile, from a group on; S: rows of the tile.
struct Int8Rows {
  const int32_t* quants;       // [groups * 8][S]
  const float* scales;         // [groups][S]
  const int32_t* starts;       // [units][kInt8ChunkGroups * kMaxTileRows], each [groups][S]: where sums begin
  const float* scaled_sums;    // [groups][S]
  const int32_t* next_quants;  // of the next tile, this one's share to prefetch: 8 * kRows a group
};

// sums[row][panel] += weights · activations over the chunk's groups.
template <int kRows, int kStride, bool kHasMin, int kPanels, int kUnits, int kInPlaceBytes>
inline void Int8Tile(const Int8Chunk<kPanels, kUnits, kInPlaceBytes>& chunk, int groups, const Int8Rows& x,
                     WeightsAhead<kPanels>& ahead, const TileSums& sums) {
  constexpr int kSteps = 8 / kUnits;
  F32 totals[kRows][kPanels];
  LoadTotals(sums, totals);
  for (int g = 0; g < groups; ++g) {
    const int32_t* quants = x.quants + g * 8 * kStride;
    const float *scales = x.scales + g * kStride, *scaled_sums = x.scaled_sums + g * kStride;
    ahead.Step();
#pragma GCC unroll 4
    for (int line = 0; line < 8 * kRows; line += 16) Prefetch(x.next_quants + g * 8 * kStride + line);
#pragma GCC unroll 2
    for (int u = 0; u < kUnits; ++u) {
      I32 dots[kRows][kPanels];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const int32_t* start = x.starts + u * kInt8ChunkGroups * kMaxTileRows + g * kStride + r;
#pragma GCC unroll 4
        for (int c = 0; c < kPanels; ++c) dots[r][c] = BroadcastOrdered(start);
      }
#pragma GCC unroll 8
      for (int k = u * kSteps; k < (u + 1) * kSteps; ++k) {
        Bytes w[kPanels];
#pragma GCC unroll 4
        for (int c = 0; c < kPanels; ++c) w[c] = LoadBytes(chunk.quants[c] + g * chunk.kGroupBytes + 64 * k);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const I32 a = BroadcastOrdered(quants + k * kStride + r);
#pragma GCC unroll 4
          for (int c = 0; c < kPanels; ++c) DotAddOrdered(dots[r][c], w[c], a);
        }
      }
#pragma GCC unroll 4
      for (int c = 0; c < kPanels; ++c) {
        const F32 scale = Load(chunk.scales[g][u][c]), magic_scale = Load(chunk.magic_scales[g][u][c]);
        const F32 minimum = kHasMin ? Load(chunk.minima[g][c]) : Zero();
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          F32& total = totals[r][c];
          total = Fma(ScaleFromMagic(dots[r][c], scale, magic_scale), Set1(scales[r]), total);
          if constexpr (kHasMin) total = Fma(minimum, Set1(scaled_sums[r]), total);
        }
      }
    }
  }
  StoreTotals(sums, totals);
}

// As Int8Tile; x: [columns][kStride].
template <int kRows, int kStride, int kPanels>
inline void FloatTile(const FloatChunk<kPanels>& chunk, int columns, const float* x, const float* next_x,
                      WeightsAhead<kPanels>& ahead, const TileSums& sums) {
  F32 totals[kRows][kPanels];
  LoadTotals(sums, totals);
  for (int k = 0; k < columns; k += 2) {
    if (k % kFloatColumnsPerStep == 0) ahead.Step();
    Prefetch(next_x + k * kStride);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      F32 w[kPanels];
#pragma GCC unroll 4
      for (int c = 0; c < kPanels; ++c) w[c] = Load(chunk.values[k + j][c]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const F32 a = BroadcastOrdered(x + (k + j) * kStride + r);
#pragma GCC unroll 4
        for (int c = 0; c < kPanels; ++c) FmaOrdered(totals[r][c], w[c], a);
      }
    }
  }
  StoreTotals(sums, totals);
}

}  // namespace longspan::LONGSPAN_ISA
