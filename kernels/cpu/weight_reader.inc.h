// Walks the groups of a panel of packed weights (packed_layout.h), whatever its format, one source for every
// instruction set.
#pragma once

#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/simd.h"
#include "kernels/numerics.h"

namespace longspan::LONGSPAN_ISA {

// Ahead of the group in work, into the second-level cache and from there into the first: together they come
// close to the speed of a plain read, either alone does not.
inline constexpr int kFarPrefetchBytes = 16384;
inline constexpr int kNearPrefetchBytes = 2048;

// Calls prefetch(line) for the lines of the cache that begin within the `kBytes` at p: neighbouring ranges
// share none.
template <int kBytes, typename Function>
[[gnu::always_inline]] inline void ForEachLine(const uint8_t* p, Function&& prefetch) {
  const uint8_t* line = p + (-reinterpret_cast<uintptr_t>(p) & 63);
#pragma GCC unroll 32
  for (int i = 0; i < kBytes / 64; ++i) prefetch(line + 64 * i);
  if (kBytes % 64 != 0 && line + kBytes / 64 * 64 < p + kBytes) prefetch(line + kBytes / 64 * 64);
}

template <int kBytes>
inline void PrefetchNear(const uint8_t* p) {
  ForEachLine<kBytes>(p, [](const uint8_t* line) { Prefetch(line + kNearPrefetchBytes); });
}

template <int kBytes>
inline void PrefetchAhead(const uint8_t* p) {
  ForEachLine<kBytes>(p, [](const uint8_t* line) {
    Prefetch(line + kNearPrefetchBytes);
    PrefetchFar(line + kFarPrefetchBytes);
  });
}

// The next weights of kPanels panels, brought into the second-level cache, or the first with `near`, little
// by little while others are multiplied.
template <int kPanels>
class WeightsAhead {
 public:
  // The `bytes` from `first`, and of the other panels `panel_bytes` apart, in `steps` calls of Step.
  WeightsAhead(const uint8_t* first, size_t panel_bytes, int64_t bytes, int64_t steps, bool near)
      : next_(first),
        panel_bytes_(panel_bytes),
        end_(first + bytes),
        each_((bytes + steps - 1) / steps),
        near_(near) {}

  [[gnu::always_inline]] void Step() {
    if (next_ >= end_) return;
    for (const uint8_t* stop = next_ + each_; next_ < stop; next_ += 64) {
      if (near_) {
#pragma GCC unroll 4
        for (size_t c = 0; c < kPanels; ++c) Prefetch(next_ + c * panel_bytes_);
      } else {
#pragma GCC unroll 4
        for (size_t c = 0; c < kPanels; ++c) PrefetchFar(next_ + c * panel_bytes_);
      }
    }
  }

 private:
  const uint8_t* next_;
  size_t panel_bytes_;
  const uint8_t* end_;
  int64_t each_;
  bool near_;
};

// The eight byte vectors of a group: vector k holds columns 4k..4k+3 of each lane.
template <int kBits>
inline void ExpandQuants(const uint8_t* p, Bytes* w) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) w[k] = LoadBytes(p + 64 * k);
  } else {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Bytes v = LoadBytes(p + 64 * k);
      w[k] = LowNibbles(v);
      w[k + 4] = HighNibbles(v);
    }
    if constexpr (kBits == 5) {
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        uint64_t bits;
        __builtin_memcpy(&bits, p + 256 + 8 * k, sizeof bits);
        w[k] = AddSixteenWhere(w[k], bits);
      }
    } else if constexpr (kBits == 6) {
#pragma GCC unroll 2
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

  BlockReader() {}
  BlockReader(const uint8_t* panel, int super_phase) : p(panel), phase(super_phase) {
    if (HasSuperBlocks(kFormat)) ReadSuper();
  }
  void ReadSuper() {
    PrefetchAhead<SuperBytes(kFormat)>(p);
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

// The weights of a group as float32: w[column] holds 16 lanes.
template <typename Reader>
inline void ExpandFloats(const Reader& reader, F32* w) {
  Bytes q[8];
  ExpandQuants<Reader::kFormat.bits>(reader.p, q);
  const float offset = static_cast<float>(Reader::kFormat.offset);
#pragma GCC unroll 8
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
  PlainReader() {}
  PlainReader(const uint8_t* panel, int) : p(panel) {}
  void ReadScales() {}
  void Next(bool) { p += kGroupBytes; }
};

template <DType kType>
inline void ExpandFloats(const PlainReader<kType>& reader, F32* w) {
#pragma GCC unroll 32
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

}  // namespace longspan::LONGSPAN_ISA
