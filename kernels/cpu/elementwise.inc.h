// Row-wise operations, one source for every instruction set.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"
#include "kernels/numerics.h"

namespace longspan::LONGSPAN_ISA {

// Lanes [0, count) of p, zero elsewhere; never reads past the end.
inline F32 LoadPart(const float* p, int64_t count) {
  if (count >= 16) return Load(p);
  float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return Load(lanes);
}

inline void StorePart(float* p, F32 x, int64_t count) {
  if (count >= 16) {
    Store(p, x);
  } else {
    StoreLanes(p, x, static_cast<int>(count));
  }
}

// 1 / sqrt(mean of squares + epsilon)
inline float InverseRms(const float* x, int64_t n, float epsilon) {
  F32 sum = Zero();
  for (int64_t i = 0; i < n; i += 16) {
    const F32 v = LoadPart(x + i, n - i);
    sum = Fma(v, v, sum);
  }
  return 1.0f / __builtin_sqrtf(ReduceAdd(sum) / static_cast<float>(n) + epsilon);
}

inline void ResidualNorm(float* x, const float* update, const float* post, const float* weight, float epsilon,
                         int64_t n, float* out) {
  if (update != nullptr) {
    const F32 scale = Set1(post == nullptr ? 1.0f : InverseRms(update, n, epsilon));
    for (int64_t i = 0; i < n; i += 16) {
      F32 u = LoadPart(update + i, n - i);
      if (post != nullptr) u = Mul(Mul(u, scale), LoadPart(post + i, n - i));
      StorePart(x + i, Add(LoadPart(x + i, n - i), u), n - i);
    }
  }
  const F32 scale = Set1(InverseRms(x, n, epsilon));
  for (int64_t i = 0; i < n; i += 16) {
    StorePart(out + i, Mul(Mul(LoadPart(x + i, n - i), scale), LoadPart(weight + i, n - i)), n - i);
  }
}

inline F32 Sigmoid(F32 x) { return Div(Set1(1.0f), Add(Set1(1.0f), Exp(Sub(Zero(), x)))); }

// GELU in its tanh form: 0.5 (1 + tanh z) is the logistic function of 2z.
inline void Gated(bool gelu_tanh, const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 16) {
    const F32 g = LoadPart(gate + i, n - i);
    F32 z = g;
    if (gelu_tanh) {
      const F32 cubic = Fma(Mul(Mul(g, g), g), Set1(0.044715f), g);
      z = Mul(cubic, Set1(2.0f * 0.7978845608f));
    }
    StorePart(out + i, Mul(Mul(g, Sigmoid(z)), LoadPart(up + i, n - i)), n - i);
  }
}

inline void SoftCap(float* x, int64_t n, float cap) {
  const F32 inverse = Set1(1.0f / cap);
  for (int64_t i = 0; i < n; i += 16) {
    StorePart(x + i, Mul(Tanh(Mul(LoadPart(x + i, n - i), inverse)), Set1(cap)), n - i);
  }
}

inline void SumParts(const float* parts, int count, int64_t stride, int64_t begin, int64_t end, float* out) {
  for (int64_t i = begin; i < end; i += 16) {
    F32 stack[8];
    int depth = 0;
    for (int p = 0; p < count; ++p) {
      stack[depth++] = LoadPart(parts + p * stride + i, end - i);
      for (int due = MergesDue(p); due > 0; --due, --depth)
        stack[depth - 2] = Add(stack[depth - 2], stack[depth - 1]);
    }
    for (; depth > 1; --depth) stack[depth - 2] = Add(stack[depth - 2], stack[depth - 1]);
    StorePart(out + i, stack[0], end - i);
  }
}

inline constexpr float kSmallestGroup = 1e-35f;  // 127 / x and x / 127 are normal numbers from here on

inline float RoundToBf16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
  __builtin_memcpy(&x, &bits, sizeof bits);
  return x;
}

// Groups of 32 of each row as int8: q = round(x / scale), scale = max |x| / 127. A group below kSmallestGroup
// becomes zero. One with a value that is not finite gets a NaN as its scale, so that it shows in the products
// instead of vanishing in a conversion.
inline void PackInt8Tile(const PackActivationsArgs& args, int64_t first, int rows) {
  const int64_t groups = NumQuantGroups(args.columns);
  const F32 infinity = Set1(__builtin_inff());
  const auto magnitudes = [&](F32 v) { return SelectLess(Abs(v), infinity, Abs(v), infinity); };
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t left = args.columns - g * kQuantGroup;
    const int64_t at = first * groups + g * rows;  // groups before this one in the tile's order
    const float* x = args.x + first * args.stride + g * kQuantGroup;
    const auto low_half = [&](int r) { return LoadPart(x + r * args.stride, left); };
    const auto high_half = [&](int r) {
      return left > 16 ? LoadPart(x + r * args.stride + 16, left - 16) : Zero();
    };
    float largest[16] = {}, inverses[16];
    for (int r = 0; r < rows; ++r) {
      largest[r] = ReduceMax(Max(magnitudes(low_half(r)), magnitudes(high_half(r))));
    }
    const F32 maxima = Load(largest);
    const F32 scales = SelectLess(maxima, infinity, Div(maxima, Set1(127.0f)), Set1(__builtin_nanf("")));
    StorePart(args.scales + at, scales, rows);
    Store(inverses, SelectLess(maxima, Set1(kSmallestGroup), Zero(), Div(Set1(1.0f), scales)));
    int32_t low_sums[16] = {}, high_sums[16] = {};
    for (int r = 0; r < rows; ++r) {
      I32 low = ISet1(0), high = low;
      if (largest[r] < __builtin_inff()) {
        low = RoundToInt(Mul(low_half(r), Set1(inverses[r])));
        high = RoundToInt(Mul(high_half(r), Set1(inverses[r])));
      }
      alignas(16) int8_t q[kQuantGroup];
      StoreS8(q, low);
      StoreS8(q + 16, high);
      int32_t* quants = args.quants + at * 8 + r;
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) __builtin_memcpy(quants + k * rows, q + 4 * k, 4);
      // Both sums, which fit into 16 bits, at once.
      const int32_t sums = IReduceAdd(IAdd(low, IShiftLeft<16>(high)));
      high_sums[r] = (sums + 0x8000) >> 16;
      low_sums[r] = sums - high_sums[r] * 0x10000;
    }
    for (int r = 0; r < rows; ++r) {
      args.low_sums[at + r] = low_sums[r];
      args.high_sums[at + r] = high_sums[r];
    }
    StorePart(args.scaled_sums + at, Mul(ToF32(IAdd(ILoad(low_sums), ILoad(high_sums))), scales), rows);
  }
}

inline void PackFloatTile(const PackActivationsArgs& args, int64_t first, int rows) {
  const int64_t padded = NumQuantGroups(args.columns) * kQuantGroup;
  const float* x = args.x + first * args.stride;
  float* out = args.values + first * padded;
  for (int64_t k = 0; k < args.columns; ++k) {
    for (int r = 0; r < rows; ++r) {
      const float v = x[r * args.stride + k];
      out[k * rows + r] = args.round_to_bf16 ? RoundToBf16(v) : v;
    }
  }
  for (int64_t i = args.columns * rows; i < padded * rows; ++i) out[i] = 0;
}

inline void PackActivations(const PackActivationsArgs& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end;) {
    const int rows = TileRows(args.rows - row);
    if (args.quants != nullptr) {
      PackInt8Tile(args, row, rows);
    } else {
      PackFloatTile(args, row, rows);
    }
    row += rows;
  }
}

}  // namespace longspan::LONGSPAN_ISA
