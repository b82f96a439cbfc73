#include "kvstore/kv_geometry.h"

#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace longspan {
namespace {

// Walks through every step that any division into chunks can contain, and counts for each rank the blocks
// that hold a token which the step reads or writes.
std::vector<int64_t> DemandByWalking(int64_t window, int block_size, int kvp, int64_t total, int64_t chunk,
                                     int shift) {
  std::vector<int64_t> most(static_cast<size_t>(kvp), 0);
  for (int64_t first = 0; first < total; ++first) {
    for (int64_t end = first + 1; end <= std::min(total, first + chunk); ++end) {
      std::vector<int64_t> held(static_cast<size_t>(kvp), 0);
      const int64_t oldest = window == 0 ? 0 : std::max<int64_t>(0, first - (window - 1));
      for (int64_t block = 0; block * block_size < end; ++block) {
        if ((block + 1) * block_size > oldest) ++held[static_cast<size_t>((block + shift) % kvp)];
      }
      for (size_t k = 0; k < held.size(); ++k) most[k] = std::max(most[k], held[k]);
    }
  }
  return most;
}

KvGeometry OneGroup(int64_t window, int block_size, int kvp) {
  return {.block_size = block_size,
          .kvp = kvp,
          .groups = {{.window = window}},
          .pages_per_rank = std::vector<int64_t>(static_cast<size_t>(kvp), 100)};
}

TEST(KvDemandTest, IsExactForEachLayerGroupAndRank) {
  for (const int block_size : {1, 2, 4}) {
    for (const int kvp : {1, 2, 3, 5}) {
      for (const int64_t window : {0, 1, 2, 5, 8, 13}) {
        for (const int64_t chunk : {1, 3, 7}) {
          for (int64_t total = 1; total <= 34; ++total) {
            const int shift = static_cast<int>(total % kvp);
            ASSERT_EQ(KvDemand(OneGroup(window, block_size, kvp), {total, chunk}, shift),
                      DemandByWalking(window, block_size, kvp, total, chunk, shift))
                << "block_size " << block_size << " kvp " << kvp << " window " << window << " chunk " << chunk
                << " total " << total;
          }
        }
      }
    }
  }
}

TEST(KvDemandTest, AddsTheGroupsByTheirPages) {
  KvGeometry geometry = OneGroup(0, 4, 2);
  geometry.groups = {{.window = 4, .pages_per_block = 5}, {.window = 0, .pages_per_block = 1}};
  // 10 full blocks, 5 a rank. Of the window, 3 + 1 positions are at most 2 neighbouring blocks, one on each
  // rank.
  EXPECT_EQ(KvDemand(geometry, {40, 1}, 0), (std::vector<int64_t>{10, 10}));
}

TEST(KvDemandTest, NeverFallsWhenTheSequenceGrows) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    KvGeometry geometry = OneGroup(random() % 40, 1 + random() % 8, 1 + random() % 8);
    geometry.groups.push_back({.window = static_cast<int>(random() % 100), .pages_per_block = 3});
    const int64_t chunk = 1 + random() % 20;
    const int shift = static_cast<int>(random() % geometry.kvp);
    std::vector<int64_t> before = KvDemand(geometry, {1, chunk}, shift);
    for (int64_t total = 2; total < 200; ++total) {
      const std::vector<int64_t> demand = KvDemand(geometry, {total, chunk}, shift);
      for (size_t k = 0; k < demand.size(); ++k) ASSERT_GE(demand[k], before[k]) << "total " << total;
      before = demand;
    }
  }
}

TEST(KvGeometryTest, FirstVisibleBlockCountsTheTokenItselfInTheWindow) {
  EXPECT_EQ(FirstVisibleBlock(100, 0, 4), 0);
  EXPECT_EQ(FirstVisibleBlock(4, 1, 4), 1);
  EXPECT_EQ(FirstVisibleBlock(4, 2, 4), 0);
  EXPECT_EQ(FirstVisibleBlock(11, 5, 4), 1);
  EXPECT_EQ(FirstVisibleBlock(3, 8, 4), 0);
}

TEST(KvGeometryTest, ValidationNamesTheWrongValue) {
  const auto message = [](const KvGeometry& geometry) { return std::string(geometry.Validate().message()); };
  KvGeometry geometry = OneGroup(8, 4, 2);
  EXPECT_TRUE(geometry.Validate().ok());
  geometry.block_size = 0;
  EXPECT_NE(message(geometry).find("block of 0 tokens"), std::string::npos);
  geometry = OneGroup(-1, 4, 2);
  EXPECT_NE(message(geometry).find("window of -1"), std::string::npos);
  geometry = OneGroup(8, 4, 2);
  geometry.pages_per_rank = {1};
  EXPECT_NE(message(geometry).find("1 ranks for a kvp width of 2"), std::string::npos);
  geometry.pages_per_rank = {1, int64_t{1} << 40};
  EXPECT_NE(message(geometry).find("1099511627776 pages"), std::string::npos);
  geometry = OneGroup(8, 4, 1);
  geometry.groups.clear();
  EXPECT_NE(message(geometry).find("no layer groups"), std::string::npos);
}

}  // namespace
}  // namespace longspan
