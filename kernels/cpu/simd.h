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
//   DotAdd(s, w, a)         s[l] + Σ_j w[4l + j] * a[j], w unsigned and a signed bytes, exact
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
  float v[16];
  Store(v, x);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) v[i] += v[i + width];
  }
  return v[0];
}

inline float ReduceMax(F32 x) {
  float v[16];
  Store(v, x);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) v[i] = v[i] > v[i + width] ? v[i] : v[i + width];
  }
  return v[0];
}

// e^x with an error below 2 units in the last place; 0 below -87, clamped above 88, NaN of NaN.
inline F32 Exp(F32 x) {
  const F32 clamped = Min(Set1(88.0f), Max(Set1(-87.0f), x));
  const I32 n = RoundToInt(Mul(clamped, Set1(1.44269504f)));
  const F32 nf = ToF32(n);
  // ln 2 in two parts, the first with few bits so that n times it is exact.
  F32 r = Fma(nf, Set1(-0.693359375f), clamped);
  r = Fma(nf, Set1(2.12194440e-4f), r);
  F32 p = Set1(1.0f / 5040.0f);
  p = Fma(p, r, Set1(1.0f / 720.0f));
  p = Fma(p, r, Set1(1.0f / 120.0f));
  p = Fma(p, r, Set1(1.0f / 24.0f));
  p = Fma(p, r, Set1(1.0f / 6.0f));
  p = Fma(p, r, Set1(0.5f));
  p = Fma(p, r, Set1(1.0f));
  p = Fma(p, r, Set1(1.0f));
  return SelectLess(x, Set1(-87.0f), Zero(), Mul(p, PowerOfTwo(n)));
}

inline float ExpScalar(float x) { return Lane0(Exp(Set1(x))); }

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
