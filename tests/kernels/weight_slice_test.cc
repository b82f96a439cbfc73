// Parts of a matrix: rows, columns and the leaves that make sums equal on any number of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/reference_weight.h"
#include "tests/support/same_bits.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

// Columns of rank `rank` of `ranks`, which hold kReductionWays / ranks leaves each.
WeightSlice RankSlice(const FileMatrix& matrix, int rank, int ranks) {
  const int64_t groups = NumQuantGroups(matrix.columns);
  const int leaves = kReductionWays / ranks;
  const int64_t first = LeafBegin(groups, rank * leaves, kReductionWays);
  WeightSlice slice = matrix.Slice();
  slice.column_begin = first * kQuantGroup;
  slice.column_end =
      std::min(LeafBegin(groups, (rank + 1) * leaves, kReductionWays) * kQuantGroup, matrix.columns);
  for (int i = 1; i <= leaves; ++i) {
    slice.leaf_ends.push_back(LeafBegin(groups, rank * leaves + i, kReductionWays) - first);
  }
  return slice;
}

Tensor ColumnsOf(const Tensor& x, int64_t begin, int64_t end) {
  return {static_cast<float*>(x.data) + begin, x.dtype, x.rows, end - begin, x.stride};
}

std::vector<float> SumOverRanks(TestDevice& device, const FileMatrix& matrix, const Tensor& x, int ranks) {
  const int64_t elements = x.rows * matrix.rows;
  float* parts = device.Allocate<float>(static_cast<size_t>(ranks * elements));
  for (int rank = 0; rank < ranks; ++rank) {
    const WeightSlice slice = RankSlice(matrix, rank, ranks);
    const auto weight = device.Load(slice);
    const Weight* weights[] = {weight.get()};
    const Tensor out = MakeTensor(parts + rank * elements, DType::kF32, x.rows, matrix.rows);
    device.backend().Linear(device.stream(), weights, ColumnsOf(x, slice.column_begin, slice.column_end),
                            {{out}});
    device.Wait();
  }
  float* sum = device.Allocate<float>(static_cast<size_t>(elements));
  device.backend().SumParts(device.stream(), parts, ranks, elements, sum);
  return device.Download(sum, static_cast<size_t>(elements));
}

class WeightSliceTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, WeightSliceTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(WeightSliceTest, AnyNumberOfRanksGivesTheSameBits) {
  for (DType dtype : WeightDTypes()) {
    // 2048 and 768 cut no super-block and some of them; 128 and 80 leave leaves empty.
    std::vector<int64_t> inner = {2048, 768};
    if (Traits(dtype).block_elements <= 32) inner.insert(inner.end(), {896, 128});
    if (!IsBlockFormat(dtype)) inner.insert(inner.end(), {3696, 80});
    for (int64_t columns : inner) {
      const FileMatrix matrix = RandomFileMatrix(dtype, 18, columns, 31);
      const std::vector<float> x = RandomValues(32).Floats(3 * columns);
      TestDevice device(MakeCpuBackend(GetParam()));
      const Tensor activations = device.UploadMatrix(x, 3, columns);
      const std::vector<float> one = SumOverRanks(device, matrix, activations, 1);
      for (int64_t i = 0; i < 3 * 18; ++i) {
        const std::vector<double> seen = ReferenceActivations(
            IsBlockFormat(dtype) ? ActivationDType::kInt8 : ActivationDType::kF32, x, columns);
        const ReferenceValue expected =
            ReferenceDot(matrix, i % 18, &seen[static_cast<size_t>(i / 18 * columns)]);
        ASSERT_NEAR(one[static_cast<size_t>(i)], expected.value, 5e-7 * expected.magnitude);
      }
      for (int ranks : {2, 4, 8}) {
        EXPECT_TRUE(SameBits(SumOverRanks(device, matrix, activations, ranks), one))
            << Traits(dtype).name << ", " << columns << " columns, " << ranks << " ranks";
      }
    }
  }
}

TEST_P(WeightSliceTest, LeavesAreSummedApartThenAsNeighbours) {
  // Groups of 2^24, 0, 1 and -2^24: the 1 survives only if it meets -2^24 before 2^24.
  std::vector<float> values(4 * kQuantGroup, 0.0f);
  values[0] = 0x1p24f;
  values[2 * kQuantGroup] = 1.0f;
  values[3 * kQuantGroup] = -0x1p24f;
  FileMatrix matrix = RandomFileMatrix(DType::kF32, 1, 4 * kQuantGroup, 33);
  std::memcpy(matrix.bytes.data(), values.data(), matrix.bytes.size());
  TestDevice device(MakeCpuBackend(GetParam()));
  const Tensor x = device.UploadMatrix(std::vector<float>(values.size(), 1.0f), 1, 4 * kQuantGroup);
  const std::pair<std::vector<int64_t>, float> cases[] = {
      {{4}, 0},          {{0, 4}, 0},       {{1, 4}, 1},       {{2, 4}, 1},       {{3, 4}, 0},
      {{1, 2, 3, 4}, 1}, {{0, 1, 3, 4}, 1}, {{0, 3, 3, 4}, 0}, {{1, 3, 3, 4}, 0}, {{2, 2, 2, 4}, 1}};
  for (const auto& [leaf_ends, expected] : cases) {
    WeightSlice slice = matrix.Slice();
    slice.leaf_ends = leaf_ends;
    const auto weight = device.Load(slice);
    const Weight* weights[] = {weight.get()};
    const Tensor out = device.AllocateMatrix(1, 1);
    device.backend().Linear(device.stream(), weights, x, {{out}});
    EXPECT_EQ(device.DownloadMatrix(out)[0], expected) << testing::PrintToString(leaf_ends);
  }
}

TEST_P(WeightSliceTest, RowsAndTheirOrder) {
  constexpr int64_t kRows = 50, kColumns = 256;
  const std::vector<float> x = RandomValues(34).Floats(2 * kColumns);
  for (DType dtype : WeightDTypes()) {
    TestDevice device(MakeCpuBackend(GetParam()));
    const Tensor activations = device.UploadMatrix(x, 2, kColumns);
    const auto multiply = [&](const WeightSlice& slice) {
      const auto weight = device.Load(slice);
      const Weight* weights[] = {weight.get()};
      const Tensor out = device.AllocateMatrix(2, weight->rows());
      device.backend().Linear(device.stream(), weights, activations, {{out}});
      return device.DownloadMatrix(out);
    };
    const FileMatrix matrix = RandomFileMatrix(dtype, kRows, kColumns, 35);
    const std::vector<float> all = multiply(matrix.Slice());
    const std::vector<int32_t> order = RandomValues(36).Permutation(kRows);
    for (auto [begin, end] : {std::pair{0, 16}, {5, 6}, {16, 50}, {23, 47}}) {
      WeightSlice slice = matrix.Slice();
      slice.row_begin = begin;
      slice.row_end = end;
      const std::vector<float> part = multiply(slice);
      slice.row_order = order;
      const std::vector<float> reordered = multiply(slice);
      std::vector<float> expected_part, expected_reordered;
      for (int64_t r = 0; r < 2; ++r) {
        for (int64_t o = begin; o < end; ++o) {
          expected_part.push_back(all[static_cast<size_t>(r * kRows + o)]);
          expected_reordered.push_back(all[static_cast<size_t>(r * kRows + order[static_cast<size_t>(o)])]);
        }
      }
      EXPECT_TRUE(SameBits(part, expected_part)) << Traits(dtype).name << " from " << begin;
      EXPECT_TRUE(SameBits(reordered, expected_reordered)) << Traits(dtype).name << " from " << begin;
    }
  }
}

TEST_P(WeightSliceTest, PackingNeedsLittleMoreThanTheFile) {
  TestDevice device(MakeCpuBackend(GetParam()));
  for (DType dtype : WeightDTypes()) {
    const FileMatrix matrix = RandomFileMatrix(dtype, 48, 2048, 37);
    EXPECT_LE(device.Load(matrix.Slice())->bytes(), matrix.bytes.size() * 11 / 10) << Traits(dtype).name;
    for (int rank = 0; rank < 4; ++rank) {
      const auto part = device.Load(RankSlice(matrix, rank, 4));
      EXPECT_LE(part->bytes(), matrix.bytes.size() / 4 * 11 / 10) << Traits(dtype).name << ", rank " << rank;
      EXPECT_EQ(part->rows(), 48);
      EXPECT_EQ(part->columns(), 512);
    }
  }
}

}  // namespace
}  // namespace longspan
