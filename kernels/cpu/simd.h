// The vector words that kernels are written in: sixteen float32 or int32 lanes (F32, I32) and 64 bytes
// (Bytes).
//
// A kernel source includes this header once; the build compiles it for each instruction set with LONGSPAN_ISA
// set to avx512, avx2 or portable, into a namespace of that name. Such a source includes nothing with inline
// functions that other sources share, or the linker might give everybody the copy for the newest processor.
//
//   Max(a, b), Min(a, b)    b where either is NaN
//   RoundToInt(x)           to nearest, ties to even; the lowest int32 where x is NaN or out of range
//   Fma(a, b, c)            a * b + c, rounded once (portable: twice)
//   KeepLanes(x, i, j, f)   lanes [i, j) of x, f elsewhere
//   LoadBf16Pairs           16 pairs of bf16: first and second of each pair
//   LoadBf16Even, …Odd      16 pairs of bf16: the first, the second of each pair
//   PowerOfTwo(n)           2^n of the low bits of n, as a two's complement number
//   SwapLanes<d>(x)         lane i is lane i ^ d of x
//   kTileRows, kTileVectors rows and vectors of a tile of attention that fit the registers
//   kRegisterTileRows       rows of a register tile of linear; kInt8TileRows where it is of int8
//   kMaxTilePanels          and its panels of weights
//   DotAdd(s, w, a)         s[l] + Σ_j w[4l + j] * a[j], w unsigned and a signed bytes, exact
//   DotAddOrdered(s, w, a)  as DotAdd, a in every lane; kept in the order written
//   FmaOrdered(s, a, b)     s += a * b, rounded as Fma; kept in the order written
//   ScaleFromMagic(n, s, m) (n - 0x4b400000) * s, rounded once; the integer below 2^22, m = -3 * 2^22 * s
//   StoreS8(p, x)           the low bytes of 16 lanes
//   AddSixteenWhere(v, m)   adds 16 to byte i where bit i of m is set
//   AddTwoBits<f>(v, x)     adds 16 times bits [2f, 2f + 2) of each byte of x
//   ByteToF32<j>(v, o)      lane l is byte 4l + j minus o
#pragma once

#ifndef LONGSPAN_ISA
#error "compile with LONGSPAN_ISA = avx512, avx2 or portable"
#endif

#define LONGSPAN_ISA_avx512 1
#define LONGSPAN_ISA_avx2 2
#define LONGSPAN_ISA_portable 3
#define LONGSPAN_ISA_NUMBER_OF(isa) LONGSPAN_ISA_##isa
#define LONGSPAN_ISA_NUMBER(isa) LONGSPAN_ISA_NUMBER_OF(isa)

#if LONGSPAN_ISA_NUMBER(LONGSPAN_ISA) == 1
#include "kernels/cpu/simd_avx512.h"
#elif LONGSPAN_ISA_NUMBER(LONGSPAN_ISA) == 2
#include "kernels/cpu/simd_avx2.h"
#else
#include "kernels/cpu/simd_portable.h"
#endif

namespace longspan::LONGSPAN_ISA {

// Lanes added in a fixed tree, the same for every instruction set.
inline float ReduceAdd(F32 x) {
  x = Add(x, SwapLanes<8>(x));
  x = Add(x, SwapLanes<4>(x));
  x = Add(x, SwapLanes<2>(x));
  return Lane0(Add(x, SwapLanes<1>(x)));
}

inline float ReduceMax(F32 x) {
  x = Max(x, SwapLanes<8>(x));
  x = Max(x, SwapLanes<4>(x));
  x = Max(x, SwapLanes<2>(x));
  return Lane0(Max(x, SwapLanes<1>(x)));
}

// e^x with an error below 2 units in the last place; 0 below -87, clamped above 88, NaN of NaN.
inline F32 Exp(F32 x) {
  const F32 clamped = Min(Set1(88.0f), Max(Set1(-87.0f), x));
  // Adding 1.5 * 2^23 rounds to an integer, which is left in the low bits.
  const F32 shifted = Fma(clamped, Set1(1.44269504f), Set1(12582912.0f));
  const F32 n = Sub(shifted, Set1(12582912.0f));
  // ln 2 in two parts, the first with few bits so that n times it is exact.
  F32 r = Fma(n, Set1(-0.693359375f), clamped);
  r = Fma(n, Set1(2.12194440e-4f), r);
  // 1 + r + r² p, where p interpolates (e^r - 1 - r) / r² at Chebyshev nodes of |r| <= ln 2 / 2.
  F32 p = Set1(1.39261836e-3f);
  p = Fma(p, r, Set1(8.36317905e-3f));
  p = Fma(p, r, Set1(4.16665546e-2f));
  p = Fma(p, r, Set1(1.66665770e-1f));
  p = Fma(p, r, Set1(0.5f));
  p = Fma(p, r, Set1(1.0f));
  p = Fma(p, r, Set1(1.0f));
  return SelectLess(x, Set1(-87.0f), Zero(), Mul(p, PowerOfTwo(Bits(shifted))));
}

// 2^x of x <= 0 with an error below 2 units in the last place; 0 below -126.5, NaN of NaN.
inline F32 Exp2(F32 x) {
  const F32 clamped = Max(Set1(-127.0f), x);  // whose power has the bits of zero
  const F32 shifted = Add(clamped, Set1(12582912.0f));
  const F32 r = Sub(clamped, Sub(shifted, Set1(12582912.0f)));
  // 1 + r p, where p interpolates (2^r - 1) / r at Chebyshev nodes of |r| <= 1/2.
  F32 p = Set1(1.54531634e-4f);
  p = Fma(p, r, Set1(1.33908633e-3f));
  p = Fma(p, r, Set1(9.61808302e-3f));
  p = Fma(p, r, Set1(5.55035695e-2f));
  p = Fma(p, r, Set1(2.40226507e-1f));
  p = Fma(p, r, Set1(6.93147182e-1f));
  p = Fma(p, r, Set1(1.0f));
  return Mul(p, PowerOfTwo(Bits(shifted)));
}

// ln x of a normal x > 0 with an error below 3 units in the last place; NaN of NaN and infinity.
inline F32 Log(F32 x) {
  // x = m * 2^e with m from √½ to √2
  const I32 bits = Bits(x), e = ShiftRight<23>(ISub(bits, Bits(Set1(0.70710678f))));
  const F32 m = FromBits(ISub(bits, ShiftLeft<23>(e))), ef = ToF32(e);
  // ln m = 2 atanh s = 2 (s + s³/3 + s⁵/5 + …), |s| < 0.172
  const F32 s = Div(Sub(m, Set1(1.0f)), Add(m, Set1(1.0f))), s2 = Mul(s, s);
  F32 p = Set1(2.0f / 9.0f);
  p = Fma(p, s2, Set1(2.0f / 7.0f));
  p = Fma(p, s2, Set1(2.0f / 5.0f));
  p = Fma(p, s2, Set1(2.0f / 3.0f));
  const F32 tail = Fma(Mul(s, s2), p, Fma(ef, Set1(-2.12194440e-4f), Sub(x, x)));
  return Fma(ef, Set1(0.693359375f), Add(Add(s, s), tail));
}

// tanh x with an error below 4 units in the last place, NaN of NaN. Near zero, where the exponential form
// cancels, a polynomial in x² that interpolates (tanh x / x - 1) / x² at Chebyshev nodes of [0, 5/8].
inline F32 Tanh(F32 x) {
  const F32 magnitude = Abs(x), z = Mul(x, x);
  F32 p = Set1(-6.0967142e-3f);
  p = Fma(p, z, Set1(2.0997179e-2f));
  p = Fma(p, z, Set1(-5.3850910e-2f));
  p = Fma(p, z, Set1(1.3332770e-1f));
  p = Fma(p, z, Set1(-3.3333329e-1f));
  const F32 small = Fma(Mul(x, z), p, x);
  const F32 large = Sub(Set1(1.0f), Div(Set1(2.0f), Add(Exp(Add(magnitude, magnitude)), Set1(1.0f))));
  const F32 signed_large = SelectLess(x, Zero(), Sub(Zero(), large), large);
  return SelectLess(magnitude, Set1(0.625f), small, signed_large);
}

}  // namespace longspan::LONGSPAN_ISA
