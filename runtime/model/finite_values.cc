#include "runtime/model/finite_values.h"

#include <cstring>

#include "kernels/check.h"

namespace longspan {
namespace {

// All ones in the exponent are what NaN and infinity have in common.
constexpr uint16_t kF16Exponent = 0x7c00;
constexpr uint16_t kBf16Exponent = 0x7f80;
constexpr uint32_t kF32Exponent = 0x7f800000;

template <typename T, T kExponent>
std::optional<int64_t> FirstNonFinitePlain(const std::byte* values, int64_t count) {
  // Pieces of a fixed size are what compilers turn into vectors.
  constexpr int64_t kPiece = 64;
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    T piece[kPiece] = {};
    std::memcpy(piece, values + static_cast<size_t>(begin) * sizeof(T),
                static_cast<size_t>(size) * sizeof(T));
    T found = 0;
    for (int64_t i = 0; i < kPiece; ++i) found |= (piece[i] & kExponent) == kExponent ? 1 : 0;
    if (found == 0) continue;
    for (int64_t i = 0; i < size; ++i) {
      if ((piece[i] & kExponent) == kExponent) return begin + i;
    }
  }
  return std::nullopt;
}

// float16 values at `first` of each block, and at `second` if that is not negative.
std::optional<int64_t> FirstNonFiniteBlock(DType dtype, const std::byte* blocks, int64_t count, int first,
                                           int second) {
  const int block_bytes = Traits(dtype).block_bytes;
  const auto finite = [](const std::byte* value) {
    uint16_t bits;
    std::memcpy(&bits, value, sizeof bits);
    return (bits & kF16Exponent) != kF16Exponent;
  };
  for (int64_t i = 0; i < count; ++i, blocks += block_bytes) {
    if (!finite(blocks + first) || (second >= 0 && !finite(blocks + second))) return i;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> FirstNonFinite(DType dtype, const std::byte* blocks, int64_t count) {
  switch (dtype) {
    case DType::kF32:
      return FirstNonFinitePlain<uint32_t, kF32Exponent>(blocks, count);
    case DType::kF16:
      return FirstNonFinitePlain<uint16_t, kF16Exponent>(blocks, count);
    case DType::kBF16:
      return FirstNonFinitePlain<uint16_t, kBf16Exponent>(blocks, count);
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return FirstNonFiniteBlock(dtype, blocks, count, 0, -1);
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return FirstNonFiniteBlock(dtype, blocks, count, 0, 2);
    case DType::kQ6_K:
      return FirstNonFiniteBlock(dtype, blocks, count, 208, -1);
    case DType::kI32:
    case DType::kU8:
      return std::nullopt;
  }
  LONGSPAN_CHECK(false);
}

}  // namespace longspan
