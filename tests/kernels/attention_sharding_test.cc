// The bits of attention do not depend on chunks, ranks, shifts, slices, pages, splits, tiles or threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/attention_pipeline.h"
#include "tests/support/cpu_backends.h"
#include "tests/support/same_bits.h"

namespace longspan {
namespace {

class AttentionShardingTest : public testing::TestWithParam<Isa> {
 protected:
  void ExpectSameAsOneRank(const PipelineInput& input, const std::vector<PipelineLayout>& layouts) {
    TestDevice device(MakeCpuBackend(GetParam()));
    const std::vector<float> expected = RunPipeline(device, input, {});
    EXPECT_TRUE(std::all_of(expected.begin(), expected.end(), [](float v) { return std::isfinite(v); }));
    for (size_t i = 0; i < layouts.size(); ++i) {
      EXPECT_TRUE(SameBits(RunPipeline(device, input, layouts[i]), expected)) << "layout " << i;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Isas, AttentionShardingTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(AttentionShardingTest, AnyChunks) {
  std::vector<PipelineLayout> layouts;
  for (const std::vector<int64_t>& chunks :
       {std::vector<int64_t>{1}, {2}, {16}, {64, 3, 1, 17}, {5, 31}, {200}}) {
    layouts.push_back({.chunks = chunks});
  }
  ExpectSameAsOneRank({.heads = 4, .kv_heads = 1, .head_dim = 80, .lengths = {90, 37}, .seed = 81}, layouts);
  ExpectSameAsOneRank(
      {.heads = 4, .kv_heads = 2, .kv_dtype = DType::kF32, .window = 21, .lengths = {70, 41, 1}, .seed = 82},
      layouts);
}

TEST_P(AttentionShardingTest, AnyNumberOfRanksAndAnyShift) {
  std::vector<PipelineLayout> all_shifts, some_shifts;
  for (int kvp : {1, 2, 4, 8}) {
    for (int shift = 0; shift < kvp; ++shift) {
      all_shifts.push_back({.kvp = kvp, .shift = shift, .chunks = {100, 63, 1}});
      if (shift == kvp / 2) some_shifts.push_back(all_shifts.back());
    }
  }
  // 200 tokens are 13 blocks; 5 tokens leave most classes empty.
  ExpectSameAsOneRank({.heads = 4, .kv_heads = 2, .head_dim = 16, .lengths = {200, 5}, .seed = 83},
                      all_shifts);
  ExpectSameAsOneRank({.heads = 12,
                       .kv_heads = 1,
                       .head_dim = 16,
                       .window = 50,
                       .normed = true,
                       .lengths = {140},
                       .seed = 84},
                      some_shifts);
  ExpectSameAsOneRank(
      {.heads = 1, .kv_heads = 1, .head_dim = 256, .block_size = 64, .lengths = {200, 20}, .seed = 85},
      some_shifts);
}

TEST_P(AttentionShardingTest, AnySlices) {
  const PipelineInput input = {.heads = 4, .kv_heads = 2, .head_dim = 80, .lengths = {100, 20}, .seed = 86};
  std::vector<PipelineLayout> layouts;
  for (int kvp : {1, 2, 4, 8}) {
    // Even shares in groups of 32 cut heads of 80 wherever it falls; then very uneven ones, some empty.
    std::vector<int64_t> even;
    for (int rank = 1; rank < kvp; ++rank) even.push_back(LeafBegin(10, rank, kvp) * kQuantGroup);
    for (const std::vector<int64_t>& ends :
         {even, {0, 1, 37, 37, 80, 81, 250}, {160}, {79}, {64, 128, 192, 256}}) {
      layouts.push_back({.kvp = kvp, .shift = 1, .chunks = {61, 7}, .slice_ends = ends});
    }
  }
  ExpectSameAsOneRank(input, layouts);
}

TEST_P(AttentionShardingTest, AnyPagesSplitsAndTiles) {
  std::vector<PipelineLayout> layouts;
  for (int kvp : {1, 2, 8}) {
    for (int64_t min_items : {1, 6, 1000}) {
      for (int max_tile_rows : {1, 5, 32}) {
        PipelineLayout layout = {.kvp = kvp, .shift = 3, .chunks = {29, 1, 1}};
        layout.pages_per_block = 2;
        layout.page_column = max_tile_rows % 2;
        layout.min_items = min_items;
        layout.max_tile_rows = max_tile_rows;
        layouts.push_back(layout);
      }
    }
  }
  ExpectSameAsOneRank({.heads = 6, .kv_heads = 2, .head_dim = 32, .lengths = {130, 30}, .seed = 87}, layouts);
}

TEST_P(AttentionShardingTest, AnyThreads) {
  const PipelineInput input = {.heads = 4, .kv_heads = 2, .head_dim = 64, .lengths = {130, 30}, .seed = 88};
  TestDevice one(MakeCpuBackend(GetParam()));
  const std::vector<float> expected = RunPipeline(one, input, {});
  for (int threads : {2, 3}) {
    TestDevice device(MakeCpuBackend(GetParam(), threads));
    for (int64_t min_items : {1, 1000}) {
      EXPECT_TRUE(
          SameBits(RunPipeline(device, input, {.chunks = {50, 1}, .min_items = min_items}), expected));
    }
  }
}

TEST_P(AttentionShardingTest, ThreeRanksAgreeWithinRounding) {
  const PipelineInput input = {.heads = 4, .kv_heads = 1, .lengths = {250, 20}, .seed = 89};
  TestDevice device(MakeCpuBackend(GetParam()));
  const std::vector<float> expected = RunPipeline(device, input, {});
  for (int shift : {0, 1, 2}) {
    const std::vector<float> actual =
        RunPipeline(device, input, {.kvp = 3, .ways = ReductionWays(3), .shift = shift, .chunks = {100, 3}});
    for (size_t i = 0; i < expected.size(); ++i) {
      // Values are below 2, so weighted means of them are too, and each merge rounds them once more.
      ASSERT_NEAR(actual[i], expected[i], 2e-6);
    }
  }
}

}  // namespace
}  // namespace longspan
