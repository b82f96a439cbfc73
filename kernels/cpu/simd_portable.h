// Sixteen-lane vectors in plain C++, for any processor: also the reference that the other paths are checked
// against. Multiply-adds round twice here. See simd.h for the meaning of each function.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/half.h"

namespace longspan::portable {

struct F32 {
  float v[16];
};
struct I32 {
  int32_t v[16];
};
struct Bytes {
  uint8_t v[64];
};

template <typename Function>
inline F32 Map(Function f) {
  F32 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
template <typename Function>
inline I32 MapInt(Function f) {
  I32 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
template <typename Function>
inline Bytes MapBytes(Function f) {
  Bytes r;
  for (int i = 0; i < 64; ++i) r.v[i] = static_cast<uint8_t>(f(i));
  return r;
}

inline F32 Set1(float x) {
  return Map([&](int) { return x; });
}
inline F32 Zero() { return Set1(0.0f); }
inline F32 Load(const float* p) {
  return Map([&](int i) { return p[i]; });
}
inline void Store(float* p, const F32& x) { std::memcpy(p, x.v, sizeof x.v); }
inline F32 Add(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] + b.v[i]; });
}
inline F32 Sub(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] - b.v[i]; });
}
inline F32 Mul(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] * b.v[i]; });
}
inline F32 Div(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] / b.v[i]; });
}
inline F32 Max(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32 Min(const F32& a, const F32& b) {
  return Map([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32 Abs(const F32& a) {
  return Map([&](int i) { return std::fabs(a.v[i]); });
}
inline F32 Fma(const F32& a, const F32& b, const F32& c) {
  return Map([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline F32 SelectLess(const F32& a, const F32& b, const F32& yes, const F32& no) {
  return Map([&](int i) { return a.v[i] < b.v[i] ? yes.v[i] : no.v[i]; });
}
inline F32 KeepLanes(const F32& x, int begin, int end, float fill) {
  return Map([&](int i) { return i >= begin && i < end ? x.v[i] : fill; });
}
inline void StoreLanes(float* p, const F32& x, int count) {
  std::memcpy(p, x.v, sizeof(float) * static_cast<size_t>(count));
}

inline I32 RoundToInt(const F32& a) {
  return MapInt([&](int i) {
    const bool fits = a.v[i] >= -2147483648.0f && a.v[i] < 2147483648.0f;
    return fits ? static_cast<int32_t>(std::nearbyintf(a.v[i])) : INT32_MIN;
  });
}
inline F32 ToF32(const I32& a) {
  return Map([&](int i) { return static_cast<float>(a.v[i]); });
}
inline F32 PowerOfTwo(const I32& n) {
  return Map([&](int i) {
    const uint32_t bits = (static_cast<uint32_t>(n.v[i]) + 127) << 23;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  });
}

inline F32 LoadF16(const uint16_t* p) {
  return Map([&](int i) { return F16ToF32(p[i]); });
}
inline void LoadBf16Pairs(const uint16_t* p, F32& even, F32& odd) {
  even = Map([&](int i) { return Bf16ToF32(p[2 * i]); });
  odd = Map([&](int i) { return Bf16ToF32(p[2 * i + 1]); });
}

inline I32 ISet1(int32_t x) {
  return MapInt([&](int) { return x; });
}
inline I32 IAdd(const I32& a, const I32& b) {
  return MapInt([&](int i) {
    return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]));
  });
}
inline I32 ISub(const I32& a, const I32& b) {
  return MapInt([&](int i) {
    return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) - static_cast<uint32_t>(b.v[i]));
  });
}
template <int kBits>
inline I32 IShiftLeft(const I32& a) {
  return MapInt([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << kBits); });
}
inline I32 ILoad(const int32_t* p) {
  return MapInt([&](int i) { return p[i]; });
}
inline void IStore(int32_t* p, const I32& a) { std::memcpy(p, a.v, sizeof a.v); }
inline I32 LoadU8AsI32(const uint8_t* p) {
  return MapInt([&](int i) { return p[i]; });
}
inline I32 LoadS8AsI32(const int8_t* p) {
  return MapInt([&](int i) { return p[i]; });
}

inline Bytes LoadBytes(const uint8_t* p) {
  Bytes r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline void StoreBytes(uint8_t* p, const Bytes& v) { std::memcpy(p, v.v, sizeof v.v); }
inline Bytes LowNibbles(const Bytes& v) {
  return MapBytes([&](int i) { return v.v[i] & 15; });
}
inline Bytes HighNibbles(const Bytes& v) {
  return MapBytes([&](int i) { return v.v[i] >> 4; });
}
template <int kField>
inline Bytes AddTwoBits(const Bytes& v, const Bytes& fields) {
  return MapBytes([&](int i) { return v.v[i] | ((fields.v[i] >> (2 * kField)) & 3) << 4; });
}
inline Bytes AddSixteenWhere(const Bytes& v, uint64_t bits) {
  return MapBytes([&](int i) { return v.v[i] + ((bits >> i) & 1) * 16; });
}
inline I32 DotAdd(const I32& sum, const Bytes& w, int32_t four_signed_bytes) {
  int8_t a[4];
  std::memcpy(a, &four_signed_bytes, sizeof a);
  return MapInt([&](int i) {
    const uint8_t* b = &w.v[4 * i];
    return sum.v[i] + b[0] * a[0] + b[1] * a[1] + b[2] * a[2] + b[3] * a[3];
  });
}

inline constexpr int kInt8TileRows = 4, kRegisterTileRows = 8;
inline constexpr int kMaxTilePanels = 1;
inline I32 BroadcastOrdered(const int32_t* p) { return ISet1(*p); }
inline F32 BroadcastOrdered(const float* p) { return Set1(*p); }
inline void DotAddOrdered(I32& sum, const Bytes& unsigned_bytes, const I32& signed_bytes) {
  sum = DotAdd(sum, unsigned_bytes, signed_bytes.v[0]);
}
inline void FmaOrdered(F32& sum, const F32& a, const F32& b) { sum = Fma(a, b, sum); }
// Not fused here, so the conversion is apart: the same value, for there it is exact before the one rounding.
inline F32 ScaleFromMagic(const I32& magic_plus_sum, const F32& scale, const F32&) {
  return Mul(ToF32(ISub(magic_plus_sum, ISet1(0x4b400000))), scale);
}

template <int kByte>
inline F32 ByteToF32(const Bytes& v, float offset) {
  return Map([&](int i) { return static_cast<float>(v.v[4 * i + kByte]) - offset; });
}

inline void StoreS8(int8_t* p, const I32& a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(a.v[i]);
}
inline int32_t IReduceAdd(const I32& x) {
  int32_t sum = 0;
  for (int32_t lane : x.v) sum += lane;
  return sum;
}

inline float Lane0(const F32& a) { return a.v[0]; }
inline void Prefetch(const void* p) { __builtin_prefetch(p); }
inline void PrefetchFar(const void* p) { __builtin_prefetch(p, 0, 2); }

inline F32 LoadBf16Even(const uint16_t* pairs) {
  return Map([&](int i) { return Bf16ToF32(pairs[2 * i]); });
}
inline F32 LoadBf16Odd(const uint16_t* pairs) {
  return Map([&](int i) { return Bf16ToF32(pairs[2 * i + 1]); });
}
inline I32 Bits(const F32& x) {
  I32 r;
  std::memcpy(r.v, x.v, sizeof r.v);
  return r;
}
inline F32 FromBits(const I32& x) {
  F32 r;
  std::memcpy(r.v, x.v, sizeof r.v);
  return r;
}
template <int kBits>
inline I32 ShiftLeft(const I32& x) {
  return MapInt([&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(x.v[i]) << kBits); });
}
template <int kBits>
inline I32 ShiftRight(const I32& x) {
  return MapInt([&](int i) { return x.v[i] >> kBits; });
}
template <int kDistance>
inline F32 SwapLanes(const F32& x) {
  return Map([&](int i) { return x.v[i ^ kDistance]; });
}

inline constexpr int kTileRows = 2, kTileVectors = 1;

}  // namespace longspan::portable
