#include "tests/support/reference_weight.h"

#include <cmath>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/half.h"
#include "tests/support/random_values.h"

namespace longspan {
namespace {

double HalfAt(const uint8_t* p) {
  const int bits = p[0] | p[1] << 8;
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

ReferenceValue OneTerm(double value) { return {value, std::fabs(value)}; }
ReferenceValue TwoTerms(double a, double b) { return {a + b, std::fabs(a) + std::fabs(b)}; }

// Element i of a 32-element block with its nibbles at `nibbles`: elements 0..15 are the low ones.
int Nibble(const uint8_t* nibbles, int i) { return i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4; }

int FifthBit(const uint8_t* bits, int i) { return (bits[i / 8] >> i % 8 & 1) << 4; }

// Q4_K and Q5_K: scale and minimum j of eight, 6 bits each in 12 bytes: the first four of each are the low
// six bits of bytes 0..3 and 4..7; the low nibbles of bytes 8..11 are the rest of the scales' low bits, the
// high nibbles those of the minima, and the top two bits are at the top of bytes 0..7.
int SubScale(const uint8_t* packed, int j) {
  return j < 4 ? packed[j] % 64 : packed[8 + j - 4] % 16 + 16 * (packed[j - 4] / 64);
}
int SubMinimum(const uint8_t* packed, int j) {
  return j < 4 ? packed[4 + j] % 64 : packed[8 + j - 4] / 16 + 16 * (packed[j] / 64);
}

ReferenceValue SuperBlockValue(DType dtype, const uint8_t* block, int i) {
  if (dtype == DType::kQ6_K) {
    // ql[128] qh[64] scales[16] d; each half of 128 elements has 64 bytes of ql and 32 of qh.
    const int half = i / 128, within = i % 128, quarter = within / 32, l = within % 32;
    const int low_byte = block[64 * half + 32 * (quarter % 2) + l];
    const int low = quarter < 2 ? low_byte % 16 : low_byte / 16;
    const int high = block[128 + 32 * half + l] >> 2 * quarter & 3;
    const int sub_scale = static_cast<int8_t>(block[192 + i / 16]);
    return OneTerm(HalfAt(block + 208) * sub_scale * (low + 16 * high - 32));
  }
  // d dmin scales[12] [qh[32]] qs[128]; 64 elements share 32 bytes of qs.
  const int group = i / 32, l = i % 32;
  const uint8_t* qs = block + (dtype == DType::kQ4_K ? 16 : 48);
  const int byte = qs[32 * (i / 64) + l];
  int q = group % 2 == 0 ? byte % 16 : byte / 16;
  if (dtype == DType::kQ5_K) q += 16 * (block[16 + l] >> group & 1);
  return TwoTerms(HalfAt(block) * SubScale(block + 4, group) * q,
                  -HalfAt(block + 2) * SubMinimum(block + 4, group));
}

// Random bytes are valid quants and sub-scales; float16 scales need a sane range.
void SetHalf(uint8_t* p, RandomValues& random) {
  const int exponent = 15 - 8 + static_cast<int>(random.Below(3));
  const int bits =
      static_cast<int>(random.Below(2)) << 15 | exponent << 10 | static_cast<int>(random.Below(1024));
  p[0] = static_cast<uint8_t>(bits);
  p[1] = static_cast<uint8_t>(bits >> 8);
}

// Smaller by 2^6, because sub-scales multiply them.
void SetSuperHalf(uint8_t* p, RandomValues& random) {
  SetHalf(p, random);
  p[1] = static_cast<uint8_t>(p[1] - (6 << 2));
}

void SetBlockScales(DType dtype, uint8_t* block, RandomValues& random) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
      SetHalf(block + 2, random);
      return SetHalf(block, random);
    case DType::kQ4_K:
    case DType::kQ5_K:
      SetSuperHalf(block + 2, random);
      return SetSuperHalf(block, random);
    case DType::kQ6_K:
      return SetSuperHalf(block + 208, random);
    default:
      return SetHalf(block, random);
  }
}

}  // namespace

WeightSlice FileMatrix::Slice() const {
  WeightSlice slice;
  slice.dtype = dtype;
  slice.data = bytes.data();
  slice.file_columns = columns;
  slice.row_end = rows;
  slice.column_end = columns;
  return slice;
}

ReferenceValue FileMatrix::At(int64_t row, int64_t column) const {
  const auto* data =
      reinterpret_cast<const uint8_t*>(bytes.data()) + static_cast<size_t>(row) * RowBytes(dtype, columns);
  const DTypeTraits& traits = Traits(dtype);
  const uint8_t* block = data + column / traits.block_elements * traits.block_bytes;
  const int i = static_cast<int>(column % traits.block_elements);
  switch (dtype) {
    case DType::kF32: {
      float value;
      std::memcpy(&value, block, sizeof value);
      return OneTerm(value);
    }
    case DType::kF16:
      return OneTerm(HalfAt(block));
    case DType::kBF16:
      return OneTerm(BitsToF32(static_cast<uint32_t>(block[0] | block[1] << 8) << 16));
    case DType::kQ4_0:
      return OneTerm(HalfAt(block) * (Nibble(block + 2, i) - 8));
    case DType::kQ4_1:
      return TwoTerms(HalfAt(block) * Nibble(block + 4, i), HalfAt(block + 2));
    case DType::kQ5_0:
      return OneTerm(HalfAt(block) * (Nibble(block + 6, i) + FifthBit(block + 2, i) - 16));
    case DType::kQ5_1:
      return TwoTerms(HalfAt(block) * (Nibble(block + 8, i) + FifthBit(block + 4, i)), HalfAt(block + 2));
    case DType::kQ8_0:
      return OneTerm(HalfAt(block) * static_cast<int8_t>(block[2 + i]));
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ6_K:
      return SuperBlockValue(dtype, block, i);
    default:
      LONGSPAN_CHECK(false);
  }
}

FileMatrix RandomFileMatrix(DType dtype, int64_t rows, int64_t columns, uint64_t seed) {
  FileMatrix matrix;
  matrix.dtype = dtype;
  matrix.rows = rows;
  matrix.columns = columns;
  const size_t row_bytes = RowBytes(dtype, columns);
  matrix.bytes.resize(static_cast<size_t>(rows) * row_bytes);
  RandomValues random(seed);
  auto* data = reinterpret_cast<uint8_t*>(matrix.bytes.data());
  const auto block_bytes = static_cast<size_t>(Traits(dtype).block_bytes);
  for (size_t at = 0; at < matrix.bytes.size(); at += block_bytes) {
    uint8_t* block = data + at;
    if (dtype == DType::kF32) {
      const float value = 0.1f * random.Signed();
      std::memcpy(block, &value, sizeof value);
    } else if (dtype == DType::kF16) {
      SetHalf(block, random);
      if (random.Below(16) == 0) block[1] &= 0x83;  // a subnormal
    } else if (dtype == DType::kBF16) {
      const uint16_t value = F32ToBf16(0.1f * random.Signed());
      std::memcpy(block, &value, sizeof value);
    } else {
      for (size_t i = 0; i < block_bytes; ++i) block[i] = static_cast<uint8_t>(random.Bits());
      SetBlockScales(dtype, block, random);
    }
  }
  return matrix;
}

std::vector<double> ReferenceActivations(ActivationDType activation, const std::vector<float>& x,
                                         int64_t columns) {
  std::vector<double> seen(x.begin(), x.end());
  if (activation == ActivationDType::kBF16) {
    for (size_t i = 0; i < x.size(); ++i) seen[i] = Bf16ToF32(F32ToBf16(x[i]));
  } else if (activation == ActivationDType::kInt8) {
    LONGSPAN_CHECK(columns % kQuantGroup == 0);
    for (size_t group = 0; group < x.size(); group += kQuantGroup) {
      float largest = 0;
      for (size_t i = group; i < group + kQuantGroup; ++i) largest = std::fmax(largest, std::fabs(x[i]));
      const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
      const float scale = largest / 127.0f;
      for (size_t i = group; i < group + kQuantGroup; ++i) {
        seen[i] = static_cast<double>(std::nearbyint(x[i] * inverse)) * scale;
      }
    }
  }
  return seen;
}

ReferenceValue ReferenceDot(const FileMatrix& weight, int64_t row, const double* x) {
  ReferenceValue sum;
  for (int64_t c = 0; c < weight.columns; ++c) {
    const ReferenceValue w = weight.At(row, c);
    sum.value += w.value * x[c];
    sum.magnitude += w.magnitude * std::fabs(x[c]);
  }
  return sum;
}

std::vector<DType> WeightDTypes() {
  return {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
          DType::kQ5_1, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
}

}  // namespace longspan
