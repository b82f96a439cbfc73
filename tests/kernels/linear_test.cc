// Matrix products with every weight format against a double-precision reference, and the independence of a
// row's result from its batch and from the threads.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/reference_weight.h"
#include "tests/support/same_bits.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

// Rounding errors of a chain of n products grow like sqrt(n) times the running sum, which itself grows like
// sqrt(n) of n terms of random sign: together a few units in the last place of the sum of magnitudes.
constexpr double kErrorPerMagnitude = 4 * FLT_EPSILON;

std::vector<float> Multiply(TestDevice& device, const Weight& weight, const std::vector<float>& x,
                            int64_t rows) {
  const Tensor out = device.AllocateMatrix(rows, weight.rows());
  const Weight* weights[] = {&weight};
  device.backend().Linear(device.stream(), weights, device.UploadMatrix(x, rows, weight.columns()), {{out}});
  return device.DownloadMatrix(out);
}

void ExpectNearReference(const FileMatrix& matrix, ActivationDType activation, const std::vector<float>& x,
                         int64_t rows, const std::vector<float>& out) {
  const std::vector<double> seen = ReferenceActivations(activation, x, matrix.columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < matrix.rows; ++o) {
      const ReferenceValue expected = ReferenceDot(matrix, o, &seen[static_cast<size_t>(r * matrix.columns)]);
      ASSERT_NEAR(out[static_cast<size_t>(r * matrix.rows + o)], expected.value,
                  kErrorPerMagnitude * expected.magnitude)
          << Traits(matrix.dtype).name << ", activations " << Name(activation) << ", row " << r << ", output "
          << o << ", " << matrix.columns << " columns";
    }
  }
}

class LinearTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, LinearTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(LinearTest, EveryFormatAgreesWithTheReference) {
  constexpr int64_t kOutputs = 37, kColumns = 512, kRows = 15;  // tiles of 8, 4, 2 and 1 rows
  const std::vector<float> x = RandomValues(7).Floats(kRows * kColumns, 3);
  for (ActivationDType activation : {ActivationDType::kF32, ActivationDType::kBF16, ActivationDType::kInt8}) {
    TestDevice device(MakeCpuBackend(GetParam(), 1, activation));
    for (DType dtype : WeightDTypes()) {
      const bool int8 = activation == ActivationDType::kInt8;
      const FileMatrix matrix = RandomFileMatrix(dtype, kOutputs, kColumns, 11);
      const auto weight = device.Load(matrix.Slice());
      ExpectNearReference(matrix, int8 && !IsBlockFormat(dtype) ? ActivationDType::kF32 : activation, x,
                          kRows, Multiply(device, *weight, x, kRows));
    }
  }
}

TEST_P(LinearTest, AutomaticActivationsAreInt8ForBlockFormatsAndFloatOtherwise) {
  TestDevice automatic(MakeCpuBackend(GetParam()));
  TestDevice int8(MakeCpuBackend(GetParam(), 1, ActivationDType::kInt8));
  TestDevice f32(MakeCpuBackend(GetParam(), 1, ActivationDType::kF32));
  const std::vector<float> x = RandomValues(8).Floats(256);
  for (DType dtype : WeightDTypes()) {
    const FileMatrix matrix = RandomFileMatrix(dtype, 16, 256, 12);
    TestDevice& expected = IsBlockFormat(dtype) ? int8 : f32;
    EXPECT_TRUE(SameBits(Multiply(automatic, *automatic.Load(matrix.Slice()), x, 1),
                         Multiply(expected, *expected.Load(matrix.Slice()), x, 1)))
        << Traits(dtype).name;
  }
}

TEST_P(LinearTest, TheLastGroupOfPlainFormatsMayBeShort) {
  TestDevice device(MakeCpuBackend(GetParam()));
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int64_t columns : {1, 17, 31, 33, 80, 896, 3696}) {
      const FileMatrix matrix = RandomFileMatrix(dtype, 5, columns, 13);
      const std::vector<float> x = RandomValues(9).Floats(3 * columns);
      ExpectNearReference(matrix, ActivationDType::kF32, x, 3,
                          Multiply(device, *device.Load(matrix.Slice()), x, 3));
    }
  }
}

TEST_P(LinearTest, ARowDoesNotDependOnItsBatch) {
  constexpr int64_t kOutputs = 19, kColumns = 256, kRows = 17;
  const std::vector<float> x = RandomValues(10).Floats(kRows * kColumns);
  for (ActivationDType activation : {ActivationDType::kF32, ActivationDType::kAuto}) {
    TestDevice device(MakeCpuBackend(GetParam(), 1, activation));
    for (DType dtype : WeightDTypes()) {
      const auto weight = device.Load(RandomFileMatrix(dtype, kOutputs, kColumns, 14).Slice());
      const std::vector<float> all = Multiply(device, *weight, x, kRows);
      for (int64_t rows = 1; rows < kRows; ++rows) {  // the last `rows` rows: other tiles than in the batch
        EXPECT_TRUE(SameBits(Multiply(device, *weight, {x.end() - rows * kColumns, x.end()}, rows),
                             {all.end() - rows * kOutputs, all.end()}))
            << Traits(dtype).name << ", " << rows << " rows";
      }
    }
  }
}

TEST_P(LinearTest, ThreadsDoNotChangeBits) {
  constexpr int64_t kOutputs = 16 * 13 + 3, kColumns = 256, kRows = 21;
  const std::vector<float> x = RandomValues(15).Floats(kRows * kColumns);
  for (DType dtype : {DType::kBF16, DType::kQ8_0, DType::kQ6_K}) {
    const FileMatrix matrix = RandomFileMatrix(dtype, kOutputs, kColumns, 16);
    std::vector<float> one_thread;
    for (int threads : {1, 2, 3}) {
      TestDevice device(MakeCpuBackend(GetParam(), threads));
      EXPECT_EQ(device.backend().threads(), threads);
      const std::vector<float> out = Multiply(device, *device.Load(matrix.Slice()), x, kRows);
      if (threads == 1) one_thread = out;
      EXPECT_TRUE(SameBits(out, one_thread)) << Traits(dtype).name << ", " << threads << " threads";
    }
  }
}

TEST_P(LinearTest, SeveralWeightsAndStridesInOneCall) {
  constexpr int64_t kColumns = 256, kRows = 3, kStride = 100;
  TestDevice device(MakeCpuBackend(GetParam(), 2));
  const std::vector<float> x = RandomValues(17).Floats(kRows * kColumns);
  std::vector<std::unique_ptr<Weight>> weights;
  for (auto [dtype, outputs] : {std::pair{DType::kQ5_0, 33}, {DType::kF32, 7}, {DType::kQ8_0, 16}}) {
    weights.push_back(device.Load(RandomFileMatrix(dtype, outputs, kColumns, 18).Slice()));
  }
  const Tensor joint = device.AllocateMatrix(kRows, kStride);
  std::vector<Tensor> outs;
  std::vector<const Weight*> pointers;
  int64_t column = 10;
  for (const auto& weight : weights) {
    outs.push_back({static_cast<float*>(joint.data) + column, DType::kF32, kRows, weight->rows(), kStride});
    pointers.push_back(weight.get());
    column += weight->rows();
  }
  device.backend().Linear(device.stream(), pointers, device.UploadMatrix(x, kRows, kColumns), outs);
  const std::vector<float> all = device.DownloadMatrix(joint);

  for (int64_t r = 0; r < kRows; ++r) {
    std::vector<float> expected(kStride, std::nanf(""));
    column = 10;
    for (const auto& weight : weights) {
      const std::vector<float> alone = Multiply(device, *weight, x, kRows);
      std::copy_n(alone.begin() + r * weight->rows(), weight->rows(), expected.begin() + column);
      column += weight->rows();
    }
    for (int64_t c = 0; c < kStride; ++c) {
      const float value = all[static_cast<size_t>(r * kStride + c)];
      if (c < 10 || c >= column) {
        EXPECT_TRUE(std::isnan(value)) << "column " << c << " was written";
      } else {
        EXPECT_EQ(value, expected[static_cast<size_t>(c)]) << "column " << c;
      }
    }
  }
}

TEST_P(LinearTest, ExtremesOfInt8DoNotSaturate) {
  // Q8_0 with every quant at an end of its range and activations that all quantise to ±127.
  FileMatrix matrix = RandomFileMatrix(DType::kQ8_0, 16, 256, 19);
  RandomValues random(20);
  for (size_t block = 0; block < matrix.bytes.size(); block += 34) {
    for (size_t i = 2; i < 34; ++i) matrix.bytes[block + i] = std::byte(random.Below(2) ? 0x80 : 0x7f);
  }
  std::vector<float> x(256 * 4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i < 256 || i % 2 == 0 ? 2.5f : -2.5f;
  TestDevice device(MakeCpuBackend(GetParam()));
  ExpectNearReference(matrix, ActivationDType::kInt8, x, 4,
                      Multiply(device, *device.Load(matrix.Slice()), x, 4));
}

TEST_P(LinearTest, TinyActivationsGiveTinyResults) {
  TestDevice device(MakeCpuBackend(GetParam()));
  const auto weight = device.Load(RandomFileMatrix(DType::kQ8_0, 16, 256, 21).Slice());
  for (float scale : {1e-30f, 1e-36f, 1e-37f, 1e-39f, 0.0f}) {
    for (float value : Multiply(device, *weight, RandomValues(22).Floats(256, scale), 1)) {
      EXPECT_LE(std::fabs(value), 500 * scale) << "activations of " << scale;
    }
  }
}

TEST_P(LinearTest, WhatIsNotFiniteStaysInItsRowAndShows) {
  constexpr int64_t kColumns = 256, kRows = 3, kOutputs = 20;
  for (float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (DType dtype : WeightDTypes()) {
      TestDevice device(MakeCpuBackend(GetParam()));
      std::vector<float> x = RandomValues(23).Floats(kRows * kColumns);
      x[kColumns + 77] = poison;
      const auto weight = device.Load(RandomFileMatrix(dtype, kOutputs, kColumns, 24).Slice());
      const std::vector<float> out = Multiply(device, *weight, x, kRows);
      for (int64_t i = 0; i < kRows * kOutputs; ++i) {
        EXPECT_EQ(std::isfinite(out[static_cast<size_t>(i)]), i / kOutputs != 1)
            << Traits(dtype).name << ", " << poison << ", value " << i;
      }
    }
  }
}

TEST_P(LinearTest, NothingToDo) {
  TestDevice device(MakeCpuBackend(GetParam()));
  const FileMatrix matrix = RandomFileMatrix(DType::kQ4_K, 16, 256, 25);
  WeightSlice no_columns = matrix.Slice();
  no_columns.column_end = 0;
  const std::vector<float> zeros = Multiply(device, *device.Load(no_columns), {}, 3);
  EXPECT_TRUE(SameBits(zeros, std::vector<float>(3 * 16, 0.0f)));
  WeightSlice no_rows = matrix.Slice();
  no_rows.row_end = 0;
  EXPECT_TRUE(Multiply(device, *device.Load(no_rows), RandomValues(26).Floats(256), 1).empty());
  EXPECT_TRUE(Multiply(device, *device.Load(matrix.Slice()), {}, 0).empty());
}

}  // namespace
}  // namespace longspan
