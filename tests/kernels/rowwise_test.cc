// Operations that treat rows one by one, and those that move rows and columns.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/reference_weight.h"
#include "tests/support/same_bits.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

class RowwiseTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, RowwiseTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(RowwiseTest, EmbedScalesRowsOfEveryFormat) {
  TestDevice device(MakeCpuBackend(GetParam(), 2));
  const std::vector<int32_t> ids = {0, 36, 5, 5, 17, 31, 16, 15, 1, 2, 3};
  for (DType dtype : WeightDTypes()) {
    const int64_t columns = IsBlockFormat(dtype) ? 512 : 80;
    const FileMatrix matrix = RandomFileMatrix(dtype, 37, columns, 41);
    const auto table = device.Load(matrix.Slice());
    const Tensor out = device.AllocateMatrix(static_cast<int64_t>(ids.size()), columns);
    device.backend().Embed(device.stream(), *table, device.Upload(ids), 3.5f, out);
    const std::vector<float> rows = device.DownloadMatrix(out);
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t column = static_cast<int64_t>(i) % columns;
      const ReferenceValue expected = matrix.At(ids[i / static_cast<size_t>(columns)], column);
      // Three roundings: of the product with the scale of the block, of the sum with the minimum, of the
      // scale.
      ASSERT_NEAR(rows[i], 3.5 * expected.value, 3.5 * 2e-7 * expected.magnitude)
          << Traits(dtype).name << ", row " << i / static_cast<size_t>(columns) << ", column " << column;
    }
  }
}

double InverseRms(const std::vector<double>& x, double epsilon) {
  double sum = 0;
  for (double v : x) sum += v * v;
  return 1 / std::sqrt(sum / static_cast<double>(x.size()) + epsilon);
}

struct NormCase {
  bool update = false, post = false;
};

void CheckResidualNorm(Isa isa, NormCase what, int64_t rows, int64_t n) {
  constexpr double kEpsilon = 1e-5, kTolerance = 1e-6;
  TestDevice device(MakeCpuBackend(isa, 2));
  RandomValues random(42);
  const std::vector<float> x = random.Floats(rows * n, 2), update = random.Floats(rows * n, 5);
  const std::vector<float> norm = random.Floats(n, 2), post = random.Floats(n, 2);
  const Tensor x_device = device.UploadMatrix(x, rows, n);
  const Tensor out = device.AllocateMatrix(rows, n);
  device.backend().ResidualNorm(
      device.stream(), x_device, what.update ? device.UploadMatrix(update, rows, n) : Tensor{},
      what.post ? device.Upload(post) : nullptr, device.Upload(norm), static_cast<float>(kEpsilon), out);
  const std::vector<float> new_x = device.DownloadMatrix(x_device), normed = device.DownloadMatrix(out);
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = [&](const std::vector<float>& v) {
      return std::vector<double>(v.begin() + r * n, v.begin() + (r + 1) * n);
    };
    std::vector<double> sum = row(x), addend = row(update), magnitude(static_cast<size_t>(n));
    const double post_scale = what.post ? InverseRms(addend, kEpsilon) : 1;
    for (size_t i = 0; i < sum.size(); ++i) {
      if (!what.update) addend[i] = 0;
      if (what.post) addend[i] *= post_scale * static_cast<double>(post[i]);
      magnitude[i] = std::fabs(sum[i]) + std::fabs(addend[i]);
      sum[i] += addend[i];
      ASSERT_NEAR(new_x[static_cast<size_t>(r * n) + i], sum[i], kTolerance * magnitude[i]) << i;
    }
    const double scale = InverseRms(sum, kEpsilon);
    for (size_t i = 0; i < sum.size(); ++i) {
      ASSERT_NEAR(normed[static_cast<size_t>(r * n) + i], sum[i] * scale * norm[i],
                  kTolerance * scale * magnitude[i] * std::fabs(norm[i]))
          << i;
    }
  }
}

TEST_P(RowwiseTest, ResidualNormAgreesWithTheReference) {
  for (int64_t n : {1, 15, 16, 100, 640}) {
    CheckResidualNorm(GetParam(), {}, 9, n);
    CheckResidualNorm(GetParam(), {.update = true}, 9, n);
    CheckResidualNorm(GetParam(), {.update = true, .post = true}, 9, n);
  }
}

TEST_P(RowwiseTest, ResidualNormOfARowDoesNotDependOnTheOthers) {
  constexpr int64_t kRows = 19, kColumns = 72, kStride = 80;
  TestDevice device(MakeCpuBackend(GetParam(), 3));
  const std::vector<float> x = RandomValues(43).Floats(kRows * kStride);
  const float* norm = device.Upload(RandomValues(44).Floats(kColumns));
  const auto run = [&](int64_t first, int64_t rows) {
    Tensor x_device = device.UploadMatrix({x.begin() + first * kStride, x.begin() + (first + rows) * kStride},
                                          rows, kStride);
    x_device.columns = kColumns;
    const Tensor out = device.AllocateMatrix(rows, kColumns);
    device.backend().ResidualNorm(device.stream(), x_device, {}, nullptr, norm, 1e-6f, out);
    return device.DownloadMatrix(out);
  };
  const std::vector<float> all = run(0, kRows);
  for (int64_t r = 0; r < kRows; ++r) {
    EXPECT_TRUE(SameBits(run(r, 1), {all.begin() + r * kColumns, all.begin() + (r + 1) * kColumns}));
  }
}

double ActivationOf(bool gelu_tanh, double g, double* exponent) {
  if (!gelu_tanh) {
    *exponent = std::fabs(g);
    return g / (1 + std::exp(-g));
  }
  const double z = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
  *exponent = std::fabs(2 * z);
  return 0.5 * g * (1 + std::tanh(z));
}

TEST_P(RowwiseTest, GatedActivationsAgreeWithTheReference) {
  for (bool gelu_tanh : {false, true}) {
    for (int64_t n : {1, 17, 2048}) {
      TestDevice device(MakeCpuBackend(GetParam(), 2));
      RandomValues random(45);
      std::vector<float> gate = random.Floats(9 * n, 12), up = random.Floats(9 * n, 2);
      gate[0] = 0;
      gate.back() = -200;
      const Tensor out = device.AllocateMatrix(9, n);
      device.backend().GatedActivation(device.stream(), gelu_tanh, device.UploadMatrix(gate, 9, n),
                                       device.UploadMatrix(up, 9, n), out);
      const std::vector<float> values = device.DownloadMatrix(out);
      for (size_t i = 0; i < values.size(); ++i) {
        double exponent = 0;
        const double g = ActivationOf(gelu_tanh, gate[i], &exponent);
        // An exponent's rounding is a relative error of the exponential. Below -87 that is taken for zero;
        // and tanh cancels in the reference itself.
        const double tolerance = std::fabs(g * up[i]) * (1e-6 + 3e-7 * exponent) + 1e-15 * std::fabs(gate[i]);
        ASSERT_NEAR(values[i], g * up[i], tolerance) << (gelu_tanh ? "gelu of " : "silu of ") << gate[i];
      }
    }
  }
}

TEST_P(RowwiseTest, GatedActivationsKeepNan) {
  TestDevice device(MakeCpuBackend(GetParam()));
  for (bool gelu_tanh : {false, true}) {
    const Tensor out = device.AllocateMatrix(1, 3);
    device.backend().GatedActivation(device.stream(), gelu_tanh,
                                     device.UploadMatrix({1, std::nanf(""), 1}, 1, 3),
                                     device.UploadMatrix({1, 1, std::nanf("")}, 1, 3), out);
    const std::vector<float> values = device.DownloadMatrix(out);
    EXPECT_TRUE(std::isfinite(values[0]) && std::isnan(values[1]) && std::isnan(values[2]));
  }
}

TEST_P(RowwiseTest, SoftCapAgreesWithTheReference) {
  constexpr int64_t kRows = 3, kStride = 48;
  for (const float cap : {0.5f, 15.0f, 30.0f}) {
    for (const int64_t columns : {0, 1, 37, 48}) {
      TestDevice device(MakeCpuBackend(GetParam(), 2));
      std::vector<float> values = RandomValues(47).Floats(kRows * kStride, 100);
      values[0] = 0;
      Tensor x = device.UploadMatrix(values, kRows, kStride);
      x.columns = columns;
      device.backend().SoftCap(device.stream(), x, cap);
      x.columns = kStride;
      const std::vector<float> capped = device.DownloadMatrix(x);
      for (size_t i = 0; i < values.size(); ++i) {
        const bool inside = static_cast<int64_t>(i) % kStride < columns;
        const double expected = inside ? cap * std::tanh(static_cast<double>(values[i]) / cap) : values[i];
        ASSERT_NEAR(capped[i], expected, inside ? 1e-6 * std::fabs(expected) : 0)
            << values[i] << " to " << cap;
      }
    }
  }
}

TEST_P(RowwiseTest, SoftCapKeepsNan) {
  TestDevice device(MakeCpuBackend(GetParam()));
  const Tensor x = device.UploadMatrix({1, std::nanf("")}, 1, 2);
  device.backend().SoftCap(device.stream(), x, 30);
  const std::vector<float> values = device.DownloadMatrix(x);
  EXPECT_TRUE(std::isfinite(values[0]) && std::isnan(values[1]));
}

// Neighbours first; what is left over of a count that is no power of two joins last.
float TreeSum(const std::vector<float>& values) {
  if (values.size() == 1) return values[0];
  size_t left = 1;
  while (2 * left < values.size()) left *= 2;
  const auto middle = values.begin() + static_cast<int64_t>(left);
  return TreeSum({values.begin(), middle}) + TreeSum({middle, values.end()});
}

TEST_P(RowwiseTest, SumPartsIsATreeOverNeighbours) {
  TestDevice device(MakeCpuBackend(GetParam(), 2));
  for (int count : {1, 2, 3, 4, 5, 6, 7, 8, 12, 64}) {
    for (int64_t elements : {1, 37, 20'000}) {
      if (count > 8 && elements > 37) continue;
      const std::vector<float> parts = RandomValues(46).Floats(count * elements);
      float* out = device.Allocate<float>(static_cast<size_t>(elements));
      device.backend().SumParts(device.stream(), device.Upload(parts), count, elements, out);
      std::vector<float> expected;
      for (int64_t j = 0; j < elements; ++j) {
        std::vector<float> values;
        for (int p = 0; p < count; ++p) values.push_back(parts[static_cast<size_t>(p * elements + j)]);
        expected.push_back(TreeSum(values));
      }
      EXPECT_TRUE(SameBits(device.Download(out, static_cast<size_t>(elements)), expected))
          << count << " parts of " << elements;
    }
  }
}

TEST(MoveTest, InterleaveColumnsJoinsParts) {
  TestDevice device(MakeCpuBackend(Isa::kAuto));
  // Parts of widths 2, 0 and 3, two rows each.
  const float* parts = device.Upload<float>({1, 2, 11, 12, 3, 4, 5, 13, 14, 15});
  const Tensor wide = device.AllocateMatrix(2, 6);
  Tensor out = wide;
  out.columns = 5;
  device.backend().InterleaveColumns(device.stream(), parts, std::vector<int64_t>{2, 0, 3}, out);
  std::vector<float> rows = device.DownloadMatrix(wide);
  EXPECT_TRUE(std::isnan(rows[5]) && std::isnan(rows[11]));  // beyond the tensor's columns
  rows[5] = rows[11] = 0;
  EXPECT_EQ(rows, (std::vector<float>{1, 2, 3, 4, 5, 0, 11, 12, 13, 14, 15, 0}));
}

TEST(MoveTest, GatherAndScatterRows) {
  TestDevice device(MakeCpuBackend(Isa::kAuto));
  const Tensor x = device.UploadMatrix({0, 1, 10, 11, 20, 21, 30, 31}, 4, 2);
  const int32_t* index = device.Upload<int32_t>({3, 0, 2});
  const Tensor gathered = device.AllocateMatrix(3, 2);
  device.backend().GatherRows(device.stream(), x, index, gathered);
  EXPECT_EQ(device.DownloadMatrix(gathered), (std::vector<float>{30, 31, 0, 1, 20, 21}));
  const Tensor scattered = device.UploadMatrix(std::vector<float>(8, -1), 4, 2);
  device.backend().ScatterRows(device.stream(), gathered, index, scattered);
  EXPECT_EQ(device.DownloadMatrix(scattered), (std::vector<float>{0, 1, -1, -1, 20, 21, 30, 31}));
}

TEST(MoveTest, PackPartialsPutsSlicesOneAfterTheOther) {
  TestDevice device(MakeCpuBackend(Isa::kAuto));
  // Two rows, two heads of 4: the first slice ends inside head 0, the second is empty.
  const Tensor partials = device.UploadMatrix({0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17}, 2, 8);
  const Tensor lse = device.UploadMatrix({100, 101, 110, 111}, 2, 2);
  const HeadSlice slices[] = {{0, 3}, {3, 3}, {3, 8}};
  EXPECT_EQ(slices[0].NumHeads(4), 1);
  EXPECT_EQ(slices[1].NumHeads(4), 0);
  EXPECT_EQ(slices[2].FirstHead(4), 0);
  EXPECT_EQ(slices[2].NumHeads(4), 2);
  float* packed = device.Allocate<float>(22);
  device.backend().PackPartials(device.stream(), partials, lse, 4, slices, packed);
  EXPECT_EQ(device.Download(packed, 22),
            (std::vector<float>{0, 1, 2, 10, 11, 12, 100, 110,  // first slice
                                3, 4, 5, 6,  7,  13, 14,  15,  16, 17, 100, 101, 110, 111}));
}

TEST(CpuBackendTest, AnInstructionSetThatIsMissingIsRefused) {
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kPortable}) {
    const auto backend = CreateCpuBackend({.isa = isa});
    EXPECT_EQ(backend.ok(), IsaSupported(isa));
    if (backend.ok()) continue;
    EXPECT_EQ(backend.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(backend.status().message().find(std::string(Name(isa))), absl::string_view::npos);
  }
  EXPECT_TRUE(IsaSupported(DetectIsa()));
}

}  // namespace
}  // namespace longspan
