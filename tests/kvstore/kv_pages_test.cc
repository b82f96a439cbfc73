#include "kvstore/kv_pages.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention_plan.h"
#include "tests/kvstore/handoff_world.h"
#include "tests/support/cpu_backends.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

TEST(KvPagesTest, PiecesOfAllHeadsAreOneRunInEachPage) {
  std::vector<std::byte> memory(1000);
  KvPages pages;
  pages.layout = {
      .block_size = 2, .head_dim = 2, .kv_heads = 2, .dtype = DType::kBF16};  // pieces of 16 bytes
  pages.layers_per_page = 3;                                                  // 96 bytes a page
  pages.heads = {4, 6};
  pages.num_pages = 10;
  pages.base = memory.data();
  const auto runs = [&](HeadRange heads, LayerRange layers) {
    std::vector<std::pair<int64_t, size_t>> runs;
    for (const auto span : PayloadSpans(pages, {0, 0, heads, layers}, std::vector<int32_t>{7, 2, 3})) {
      runs.emplace_back(span.data() - memory.data(), span.size());
    }
    return runs;
  };
  using Runs = std::vector<std::pair<int64_t, size_t>>;
  EXPECT_EQ(runs({4, 6}, {0, 3}), (Runs{{7 * 96, 96}}));
  EXPECT_EQ(runs({4, 6}, {2, 4}), (Runs{{7 * 96 + 64, 32}, {2 * 96, 32}}));
  EXPECT_EQ(runs({4, 6}, {3, 9}), (Runs{{2 * 96, 192}}));  // pages 2 and 3 are neighbours
  EXPECT_EQ(runs({5, 6}, {1, 3}), (Runs{{7 * 96 + 32 + 16, 16}, {7 * 96 + 64 + 16, 16}}));
}

TEST(KvPagesTest, EveryPieceReachesItsPlaceBetweenAnyTwoLayouts) {
  RandomValues random(1);
  for (const RankGrid& source : Grids(8)) {
    for (const RankGrid& destination : Grids(8)) {
      HandoffOptions options;
      options.shape = {.block_size = 2,
                       .kv_heads = 8,
                       .head_dim = 4,
                       .dtype = random.Below(2) == 0 ? DType::kF32 : DType::kBF16,
                       .groups = {{.layers = 4, .window = 6}, {.layers = 2}}};
      options.source = {source, static_cast<int>(random.Below(source.kvp))};
      options.destination = {destination, static_cast<int>(random.Below(destination.kvp))};
      options.tokens = Uniform(random, 1, 20);
      options.max_transfer_bytes = Uniform(random, 1, 3000);
      HandoffWorld world(options, random);
      for (int rank = 0; rank < destination.ranks(); ++rank) {
        for (const BlockTransfer& transfer : world.plan.Receives(rank)) {
          world.Store(rank, transfer.pieces, world.Send(transfer).payload);
          ASSERT_TRUE(world.Arrived(transfer.pieces));
        }
      }
    }
  }
}

// The pages of a rank with KV heads [begin, end) of 4 after a kernel has appended a block of random keys and
// values, half of it filled.
std::vector<std::byte> AppendedPages(DType dtype, Isa isa, HeadRange heads, KvPages* pages) {
  constexpr int kHeadDim = 16, kBlockSize = 8, kRows = 4, kKvHeads = 4;
  TestDevice device(MakeCpuBackend(isa, 1));
  pages->layout = {kBlockSize, kHeadDim, heads.end - heads.begin, dtype};
  pages->heads = heads;
  pages->num_pages = 1;
  const int columns = (2 * pages->layout.kv_heads + 1) * kHeadDim;
  std::vector<float> qkv(kRows * static_cast<size_t>(columns), 0.0f);  // one query head, then keys and values
  RandomValues random(7);
  for (int row = 0; row < kRows; ++row) {
    for (int which = 0; which < 2; ++which) {
      for (int head = 0; head < kKvHeads; ++head) {
        for (int i = 0; i < kHeadDim; ++i) {
          const float value = random.Signed();
          if (head < heads.begin || head >= heads.end) continue;
          const int column = (1 + which * pages->layout.kv_heads + head - heads.begin) * kHeadDim + i;
          qkv[static_cast<size_t>(row * columns + column)] = value;
        }
      }
    }
  }
  const std::vector<int64_t> blocks = {0};
  const std::vector<int32_t> numbers = {0};
  const std::vector<AttentionSequence> sequences = {{0, kRows, 0, blocks, numbers, 0}};
  AttentionPlanOptions plan_options;
  plan_options.block_size = kBlockSize;
  const AttentionPlan plan = PlanAttention(sequences, kRows, plan_options);
  RopeAppendArgs args;
  args.qkv = device.UploadMatrix(qkv, kRows, columns);
  args.heads = 1;
  args.kv_heads = pages->layout.kv_heads;
  args.head_dim = kHeadDim;
  args.cosines = device.Upload(RandomValues(8).Floats(kRows * kHeadDim / 2));
  args.sines = device.Upload(RandomValues(9).Floats(kRows * kHeadDim / 2));
  args.plan.blocks = device.Upload(plan.blocks);
  args.plan.pages = device.Upload(plan.pages);
  args.plan.slots = device.Upload(plan.slots);
  const size_t bytes = PageBytes(pages->layout, 1);
  std::byte* const page = device.Upload(std::vector<std::byte>(bytes));
  args.kv = {page, bytes, 1, 0, pages->layout};
  args.queries = device.AllocateMatrix(kRows, kHeadDim);
  device.backend().RopeAppend(device.stream(), args);
  return device.Download(page, bytes);
}

TEST(KvPagesTest, MovedPiecesAreWhatTheKernelsOfTheOtherLayoutWrite) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Isa isa : SupportedIsas()) {
      KvPages whole, half;
      std::vector<std::byte> from = AppendedPages(dtype, isa, {0, 4}, &whole);
      const std::vector<std::byte> expected = AppendedPages(dtype, isa, {2, 4}, &half);
      std::vector<std::byte> to(expected.size()), payload;
      whole.base = from.data();
      half.base = to.data();
      const PieceRange pieces = {0, 0, {2, 4}, {0, 1}};
      for (const auto span : PayloadSpans(whole, pieces, std::vector<int32_t>{0})) {
        payload.insert(payload.end(), span.begin(), span.end());
      }
      CopyToPages(payload, half, pieces, std::vector<int32_t>{0});
      EXPECT_EQ(to, expected);
      EXPECT_NE(to, std::vector<std::byte>(to.size()));
    }
  }
}

}  // namespace
}  // namespace longspan
