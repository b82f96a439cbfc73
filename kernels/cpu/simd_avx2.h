// Sixteen-lane vectors as two AVX2 registers, with FMA and F16C. See simd.h for the meaning of each function.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace longspan::avx2 {

struct F32 {
  __m256 a, b;
};
struct I32 {
  __m256i a, b;
};
using Bytes = I32;

inline F32 Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline F32 Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, F32 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline F32 Add(F32 x, F32 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F32 Sub(F32 x, F32 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F32 Mul(F32 x, F32 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F32 Div(F32 x, F32 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F32 Max(F32 x, F32 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F32 Min(F32 x, F32 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F32 Abs(F32 x) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}
inline F32 Fma(F32 x, F32 y, F32 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F32 SelectLess(F32 x, F32 y, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
inline F32 KeepLanes(F32 x, int begin, int end, float fill) {
  alignas(32) float lanes[16];
  Store(lanes, x);
  for (int i = 0; i < 16; ++i) {
    if (i < begin || i >= end) lanes[i] = fill;
  }
  return Load(lanes);
}
inline void StoreLanes(float* p, F32 x, int count) {
  alignas(32) float lanes[16];
  Store(lanes, x);
  std::memcpy(p, lanes, sizeof(float) * static_cast<size_t>(count));
}

inline I32 RoundToInt(F32 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline F32 ToF32(I32 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline F32 PowerOfTwo(I32 n) {
  const __m256i bias = _mm256_set1_epi32(127);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.a, bias), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n.b, bias), 23))};
}

inline F32 LoadF16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline Bytes LoadBytes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline void LoadBf16Pairs(const uint16_t* p, F32& even, F32& odd) {
  const Bytes v = LoadBytes(reinterpret_cast<const uint8_t*>(p));
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  even = {_mm256_castsi256_ps(_mm256_slli_epi32(v.a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(v.b, 16))};
  odd = {_mm256_castsi256_ps(_mm256_and_si256(v.a, high)), _mm256_castsi256_ps(_mm256_and_si256(v.b, high))};
}

inline I32 ISet1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I32 IAdd(I32 x, I32 y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I32 ISub(I32 x, I32 y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
template <int kBits>
inline I32 IShiftLeft(I32 x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
inline I32 ILoad(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline void IStore(int32_t* p, I32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.b);
}
inline I32 LoadU8AsI32(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline I32 LoadS8AsI32(const int8_t* p) {
  return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
}

inline void StoreBytes(uint8_t* p, Bytes v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), v.b);
}
inline Bytes LowNibbles(Bytes v) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(v.a, mask), _mm256_and_si256(v.b, mask)};
}
inline Bytes HighNibbles(Bytes v) {
  return LowNibbles({_mm256_srli_epi16(v.a, 4), _mm256_srli_epi16(v.b, 4)});
}
template <int kField>
inline Bytes AddTwoBits(Bytes v, Bytes fields) {
  const __m256i three = _mm256_set1_epi8(3);
  const __m256i low = _mm256_and_si256(_mm256_srli_epi16(fields.a, 2 * kField), three);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(fields.b, 2 * kField), three);
  return {_mm256_or_si256(v.a, _mm256_slli_epi16(low, 4)), _mm256_or_si256(v.b, _mm256_slli_epi16(high, 4))};
}
inline __m256i SixteenWhere(uint32_t bits) {
  const __m256i spread =
      _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)),
                          _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                           2, 2, 3, 3, 3, 3, 3, 3, 3, 3));
  const __m256i select = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, select), select);
  return _mm256_and_si256(set, _mm256_set1_epi8(16));
}
inline Bytes AddSixteenWhere(Bytes v, uint64_t bits) {
  return {_mm256_add_epi8(v.a, SixteenWhere(static_cast<uint32_t>(bits))),
          _mm256_add_epi8(v.b, SixteenWhere(static_cast<uint32_t>(bits >> 32)))};
}
// maddubs saturates at 16 bits and 8-bit weights would reach that, so even and odd bytes are widened first.
inline __m256i DotAddHalf(__m256i sum, __m256i w, __m256i a) {
  const __m256i low = _mm256_set1_epi16(255);
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(w, low), _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(a, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
inline I32 DotAdd(I32 sum, Bytes unsigned_bytes, int32_t four_signed_bytes) {
  const __m256i a = _mm256_set1_epi32(four_signed_bytes);
  return {DotAddHalf(sum.a, unsigned_bytes.a, a), DotAddHalf(sum.b, unsigned_bytes.b, a)};
}

inline constexpr int kInt8TileRows = 2, kRegisterTileRows = 4;
inline constexpr int kMaxTilePanels = 1;
inline I32 BroadcastOrdered(const int32_t* p) { return ISet1(*p); }
inline F32 BroadcastOrdered(const float* p) { return Set1(*p); }
inline void DotAddOrdered(I32& sum, Bytes unsigned_bytes, I32 signed_bytes) {
  sum = {DotAddHalf(sum.a, unsigned_bytes.a, signed_bytes.a),
         DotAddHalf(sum.b, unsigned_bytes.b, signed_bytes.b)};
}
inline void FmaOrdered(F32& sum, F32 a, F32 b) { sum = Fma(a, b, sum); }
inline F32 ScaleFromMagic(I32 magic_plus_sum, F32 scale, F32 magic_scale) {
  return Fma({_mm256_castsi256_ps(magic_plus_sum.a), _mm256_castsi256_ps(magic_plus_sum.b)}, scale,
             magic_scale);
}

template <int kByte>
inline F32 ByteToF32(Bytes v, float offset) {
  const __m256i mask = _mm256_set1_epi32(255);
  const I32 b = {_mm256_and_si256(_mm256_srli_epi32(v.a, 8 * kByte), mask),
                 _mm256_and_si256(_mm256_srli_epi32(v.b, 8 * kByte), mask)};
  return Sub(ToF32(b), Set1(offset));
}

inline void StoreS8(int8_t* p, I32 x) {
  alignas(32) int32_t lanes[16];
  IStore(lanes, x);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(lanes[i]);
}
inline int32_t IReduceAdd(I32 x) {
  const __m256i eight = _mm256_add_epi32(x.a, x.b);
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

inline float Lane0(F32 x) { return _mm256_cvtss_f32(x.a); }
// Not intrinsics: GCC drops calls of functions that do nothing but prefetch.
inline void Prefetch(const void* p) { asm volatile("prefetcht0 %a0" : : "p"(p)); }
inline void PrefetchFar(const void* p) { asm volatile("prefetcht1 %a0" : : "p"(p)); }

inline F32 LoadBf16Even(const uint16_t* pairs) {
  const Bytes v = LoadBytes(reinterpret_cast<const uint8_t*>(pairs));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(v.a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(v.b, 16))};
}
inline F32 LoadBf16Odd(const uint16_t* pairs) {
  const Bytes v = LoadBytes(reinterpret_cast<const uint8_t*>(pairs));
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(v.a, high)), _mm256_castsi256_ps(_mm256_and_si256(v.b, high))};
}
inline I32 Bits(F32 x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline F32 FromBits(I32 x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
template <int kBits>
inline I32 ShiftLeft(I32 x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
template <int kBits>
inline I32 ShiftRight(I32 x) {
  return {_mm256_srai_epi32(x.a, kBits), _mm256_srai_epi32(x.b, kBits)};
}
template <int kDistance>
inline F32 SwapLanes(F32 x) {
  if constexpr (kDistance == 8) return {x.b, x.a};
  if constexpr (kDistance == 4)
    return {_mm256_permute2f128_ps(x.a, x.a, 1), _mm256_permute2f128_ps(x.b, x.b, 1)};
  constexpr int kOrder = kDistance == 2 ? 0x4e : 0xb1;
  return {_mm256_permute_ps(x.a, kOrder), _mm256_permute_ps(x.b, kOrder)};
}

inline constexpr int kTileRows = 6, kTileVectors = 1;

}  // namespace longspan::avx2
