// How weights lie in memory for the CPU kernels.
//
// A panel is 16 rows of the matrix (outputs), one for each vector lane; the last panel is filled up with
// zeros. Its columns (inputs) follow in groups of 32, in order, so that one row and many rows walk the same
// sum and no sum crosses lanes. A block-format group of 32 columns x 16 rows is
//     quants   8-bit: [8][16][4] bytes: column 4k + j of lane l at byte k * 64 + 4l + j, unsigned
//              4-bit: [4][16][4] bytes: columns 0..15 in low nibbles, 16..31 in high ones
//              5-bit: the nibbles, then [8] 64-bit words with the fifth bits, bit 4l + j of word k
//              6-bit: the nibbles, then [2][16][4] bytes holding bits 4 and 5 of four columns each
//     scales   see ScaleKind
// and K formats put the super-block's float16 scales before the first of its groups (also before the first
// group of a slice that begins inside a super-block). Sums take the quants as unsigned; `offset` is
// subtracted through the sum of the activations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace longspan {

// Functions here have internal linkage: sources compiled for different instruction sets include this header,
// and each must keep its own copy.

inline constexpr int kPanelRows = 16;

enum class ScaleKind : uint8_t {
  kPlain,        // [16] f16 scale
  kPlainMin,     // [16] f16 scale, [16] f16 minimum (added)
  kSuperMin,     // [16] u8 scale, [16] u8 minimum; super-block: [16] f16 scale, [16] f16 minimum (subtracted)
  kSuperHalves,  // [2][16] s8 scales of columns 0..15 and 16..31; super-block: [16] f16 scale
};

struct BlockFormat {
  int bits = 0;    // 4, 5, 6 or 8
  int offset = 0;  // quants mean q - offset
  ScaleKind scale = ScaleKind::kPlain;
};

static constexpr BlockFormat BlockFormatOf(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return {4, 8, ScaleKind::kPlain};
    case DType::kQ4_1:
      return {4, 0, ScaleKind::kPlainMin};
    case DType::kQ5_0:
      return {5, 16, ScaleKind::kPlain};
    case DType::kQ5_1:
      return {5, 0, ScaleKind::kPlainMin};
    case DType::kQ8_0:
      return {8, 128, ScaleKind::kPlain};
    case DType::kQ4_K:
      return {4, 0, ScaleKind::kSuperMin};
    case DType::kQ5_K:
      return {5, 0, ScaleKind::kSuperMin};
    case DType::kQ6_K:
      return {6, 32, ScaleKind::kSuperHalves};
    default:
      return {};
  }
}

static constexpr bool HasSuperBlocks(BlockFormat f) {
  return f.scale == ScaleKind::kSuperMin || f.scale == ScaleKind::kSuperHalves;
}
static constexpr int QuantBytes(BlockFormat f) { return f.bits * 64; }
static constexpr int ScaleBytes(BlockFormat f) { return f.scale == ScaleKind::kPlainMin ? 64 : 32; }
static constexpr int GroupBytes(BlockFormat f) { return QuantBytes(f) + ScaleBytes(f); }
static constexpr int SuperBytes(BlockFormat f) {
  return f.scale == ScaleKind::kSuperMin ? 64 : f.scale == ScaleKind::kSuperHalves ? 32 : 0;
}
inline constexpr int kGroupsPerSuper = 8;

}  // namespace longspan
