// Sixteen-lane vectors on AVX-512 (F, BW, VL, DQ) with VNNI. See simd.h for the meaning of each function.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace longspan::avx512 {

using F32 = __m512;
using I32 = __m512i;
using Bytes = __m512i;

inline F32 Zero() { return _mm512_setzero_ps(); }
inline F32 Set1(float x) { return _mm512_set1_ps(x); }
inline F32 Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
inline F32 Add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 Sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 Mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 Div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
inline F32 Max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
inline F32 Min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
inline F32 Abs(F32 a) { return _mm512_abs_ps(a); }
inline F32 Fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32 SelectLess(F32 a, F32 b, F32 yes, F32 no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
// Lanes [begin, end) of `x`, `fill` elsewhere.
inline F32 KeepLanes(F32 x, int begin, int end, float fill) {
  const uint32_t mask = ((1u << end) - 1u) & ~((1u << begin) - 1u);
  return _mm512_mask_blend_ps(static_cast<__mmask16>(mask), _mm512_set1_ps(fill), x);
}
inline void StoreLanes(float* p, F32 x, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), x);
}

inline I32 RoundToInt(F32 a) {
  return _mm512_cvt_roundps_epi32(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 ToF32(I32 a) { return _mm512_cvtepi32_ps(a); }
inline F32 PowerOfTwo(I32 n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}

inline F32 LoadF16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void LoadBf16Pairs(const uint16_t* p, F32& even, F32& odd) {
  const __m512i v = _mm512_loadu_si512(p);
  even = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

inline I32 ISet1(int32_t x) { return _mm512_set1_epi32(x); }
inline I32 IAdd(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
inline I32 ISub(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
template <int kBits>
inline I32 IShiftLeft(I32 a) {
  return _mm512_slli_epi32(a, kBits);
}
inline I32 ILoad(const int32_t* p) { return _mm512_loadu_si512(p); }
inline void IStore(int32_t* p, I32 a) { _mm512_storeu_si512(p, a); }
inline I32 LoadU8AsI32(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline I32 LoadS8AsI32(const int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline Bytes LoadBytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void StoreBytes(uint8_t* p, Bytes v) { _mm512_storeu_si512(p, v); }
inline Bytes LowNibbles(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
inline Bytes HighNibbles(Bytes v) { return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15)); }
template <int kField>
inline Bytes AddTwoBits(Bytes v, Bytes fields) {
  Bytes bits = _mm512_and_si512(_mm512_srli_epi16(fields, 2 * kField), _mm512_set1_epi8(3));
  return _mm512_or_si512(v, _mm512_slli_epi16(bits, 4));
}
inline Bytes AddSixteenWhere(Bytes v, uint64_t bits) {
  return _mm512_mask_add_epi8(v, _cvtu64_mask64(bits), v, _mm512_set1_epi8(16));
}
inline I32 DotAdd(I32 sum, Bytes unsigned_bytes, int32_t four_signed_bytes) {
  return _mm512_dpbusd_epi32(sum, unsigned_bytes, _mm512_set1_epi32(four_signed_bytes));
}

// Volatile, so that GCC leaves them in order: what it gains by reordering intrinsics it loses many times
// over by spilling the sums of a tile.
inline constexpr int kRegisterTileRows = 8, kInt8TileRows = 4;
inline constexpr int kMaxTilePanels = 3;
inline I32 BroadcastOrdered(const int32_t* p) {
  I32 x;
  asm volatile("vpbroadcastd %1, %0" : "=v"(x) : "m"(*p));
  return x;
}
inline F32 BroadcastOrdered(const float* p) {
  F32 x;
  asm volatile("vbroadcastss %1, %0" : "=v"(x) : "m"(*p));
  return x;
}
inline void DotAddOrdered(I32& sum, Bytes unsigned_bytes, I32 signed_bytes) {
  asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
}
inline void FmaOrdered(F32& sum, F32 a, F32 b) {
  asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}
inline F32 ScaleFromMagic(I32 magic_plus_sum, F32 scale, F32 magic_scale) {
  return _mm512_fmadd_ps(_mm512_castsi512_ps(magic_plus_sum), scale, magic_scale);
}

template <int kByte>
inline F32 ByteToF32(Bytes v, float offset) {
  const __m512i b = _mm512_and_si512(_mm512_srli_epi32(v, 8 * kByte), _mm512_set1_epi32(255));
  return _mm512_sub_ps(_mm512_cvtepi32_ps(b), _mm512_set1_ps(offset));
}

inline void StoreS8(int8_t* p, I32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
inline int32_t IReduceAdd(I32 x) { return _mm512_reduce_add_epi32(x); }

inline float Lane0(F32 a) { return _mm512_cvtss_f32(a); }
// Not intrinsics: GCC drops calls of functions that do nothing but prefetch.
inline void Prefetch(const void* p) { asm volatile("prefetcht0 %a0" : : "p"(p)); }
inline void PrefetchFar(const void* p) { asm volatile("prefetcht1 %a0" : : "p"(p)); }

inline F32 LoadBf16Even(const uint16_t* pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16));
}
inline F32 LoadBf16Odd(const uint16_t* pairs) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs), high));
}
inline I32 Bits(F32 x) { return _mm512_castps_si512(x); }
inline F32 FromBits(I32 x) { return _mm512_castsi512_ps(x); }
template <int kBits>
inline I32 ShiftLeft(I32 x) {
  return _mm512_slli_epi32(x, kBits);
}
template <int kBits>
inline I32 ShiftRight(I32 x) {
  return _mm512_srai_epi32(x, kBits);
}
template <int kDistance>
inline F32 SwapLanes(F32 x) {
  if constexpr (kDistance == 8) return _mm512_shuffle_f32x4(x, x, 0x4e);
  if constexpr (kDistance == 4) return _mm512_shuffle_f32x4(x, x, 0xb1);
  if constexpr (kDistance == 2) return _mm512_permute_ps(x, 0x4e);
  return _mm512_permute_ps(x, 0xb1);
}

inline constexpr int kTileRows = 6, kTileVectors = 4;

}  // namespace longspan::avx512
