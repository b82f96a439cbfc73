#include "kvstore/shard_map.h"

#include "gtest/gtest.h"

namespace longspan {
namespace {

TEST(ShardMapTest, ABlockBelongsToTheRankWithItsResidue) {
  for (int kvp = 1; kvp <= 8; ++kvp) {
    for (int shift = 0; shift < kvp; ++shift) {
      for (int64_t block = 0; block < 20; ++block) {
        const int owner = BlockOwner(block, shift, kvp);
        for (int k = 0; k < kvp; ++k) {
          EXPECT_EQ(block % kvp == BlockResidue(k, shift, kvp), k == owner)
              << block << " " << shift << " " << kvp;
        }
      }
    }
  }
}

TEST(ShardMapTest, CountBlocksCounts) {
  for (int kvp = 1; kvp <= 5; ++kvp) {
    for (int residue = 0; residue < kvp; ++residue) {
      for (int64_t begin = 0; begin < 14; ++begin) {
        int64_t count = 0;
        for (int64_t end = begin; end < 14; ++end) {
          EXPECT_EQ(CountBlocks(begin, end, residue, kvp), count) << begin << " " << end;
          if (end % kvp == residue) ++count;
        }
      }
    }
  }
}

TEST(ShardMapTest, RanksAndPlacesInTheGridAreOneToOne) {
  const RankGrid grid = {3, 2};
  EXPECT_EQ(grid.ranks(), 6);
  for (int rank = 0; rank < grid.ranks(); ++rank) {
    EXPECT_EQ(grid.Rank(grid.TpRank(rank), grid.KvpRank(rank)), rank);
  }
  EXPECT_EQ(grid.Rank(1, 0), 2);
}

TEST(ShardMapTest, HeadsAreDealtOutInRanges) {
  EXPECT_EQ(HeadsOf(0, 1, 8), (HeadRange{0, 8}));
  EXPECT_EQ(HeadsOf(1, 4, 8), (HeadRange{2, 4}));
  EXPECT_EQ(HeadsOf(3, 4, 8), (HeadRange{6, 8}));
}

TEST(ShardMapTest, GridsNeedWholeKvHeads) {
  const AttentionShape shape = {.heads = 32, .kv_heads = 8, .head_dim = 128};
  EXPECT_EQ(ValidGrids(shape, 8), (std::vector<RankGrid>{{8, 1}, {4, 2}, {2, 4}, {1, 8}}));
  EXPECT_EQ(ValidGrids(shape, 16), (std::vector<RankGrid>{{8, 2}, {4, 4}, {2, 8}, {1, 16}}));
  EXPECT_EQ(ValidGrids(shape, 6), (std::vector<RankGrid>{{2, 3}, {1, 6}}));
  EXPECT_EQ(DefaultGrid(shape, 6), (RankGrid{2, 3}));
  const AttentionShape single = {.heads = 4, .kv_heads = 1, .head_dim = 256};
  EXPECT_EQ(ValidGrids(single, 4), (std::vector<RankGrid>{{1, 4}}));
}

TEST(ShardMapTest, GridsNeedWholeGroupsOfColumns) {
  // 4 heads of 16: two ranks have 32 columns each, four would have 16.
  const AttentionShape shape = {.heads = 4, .kv_heads = 4, .head_dim = 16};
  EXPECT_EQ(ValidGrids(shape, 4), (std::vector<RankGrid>{{2, 2}, {1, 4}}));
  // A single tp rank has all columns, whatever their number.
  const AttentionShape odd = {.heads = 3, .kv_heads = 3, .head_dim = 20};
  EXPECT_EQ(ValidGrids(odd, 3), (std::vector<RankGrid>{{1, 3}}));
}

}  // namespace
}  // namespace longspan
