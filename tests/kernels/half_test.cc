#include "kernels/cpu/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace longspan {
namespace {

// What the 16 bits mean, from the IEEE 754 description of binary16.
double ValueOfF16(uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 1023);
  double magnitude = std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 0) magnitude = std::ldexp(mantissa, -24);
  if (exponent == 31) magnitude = mantissa == 0 ? INFINITY : NAN;
  return bits & 0x8000u ? -magnitude : magnitude;
}

TEST(HalfTest, EveryF16Converts) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const double expected = ValueOfF16(bits);
    const float actual = F16ToF32(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << bits;
    } else {
      ASSERT_EQ(actual, expected) << bits;
      ASSERT_EQ(std::signbit(actual), bits >= 0x8000u) << bits;
    }
  }
}

TEST(HalfTest, EveryBf16SurvivesThereAndBack) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = Bf16ToF32(half);
    ASSERT_EQ(F32ToBits(value), bits << 16);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(value)))) << bits;
    } else {
      ASSERT_EQ(F32ToBf16(value), half);
    }
  }
}

TEST(HalfTest, Bf16RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7f7fu; ++bits) {  // positive numbers that have a larger finite neighbour
    const uint32_t below = bits << 16;
    const auto rounded = [&](uint32_t low) {
      return static_cast<uint32_t>(F32ToBf16(BitsToF32(below | low)));
    };
    ASSERT_EQ(rounded(0x7fff), bits);
    ASSERT_EQ(rounded(0x8000), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(rounded(0x8001), bits + 1);
    ASSERT_EQ(F32ToBf16(BitsToF32(0x80000000u | below | 0x8001u)), (bits + 1) | 0x8000u);
  }
  EXPECT_EQ(F32ToBf16(BitsToF32(0x7f7fffffu)), 0x7f80u);  // the largest float rounds to infinity
}

TEST(HalfTest, NanStaysNan) {
  for (uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(BitsToF32(bits))))) << bits;
  }
}

}  // namespace
}  // namespace longspan
