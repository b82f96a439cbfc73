#include "kernels/numerics.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longspan {
namespace {

// What pushing `count` items and merging as MergesDue says builds, with the leftovers merged from the top.
std::string TreeOf(const std::vector<std::string>& items) {
  std::vector<std::string> stack;
  const auto merge = [&] {
    const std::string right = stack.back();
    stack.pop_back();
    stack.back() = "(" + stack.back() + "," + right + ")";
  };
  for (size_t i = 0; i < items.size(); ++i) {
    stack.push_back(items[i]);
    for (int due = MergesDue(static_cast<int>(i)); due > 0; --due) merge();
  }
  while (stack.size() > 1) merge();
  return stack[0];
}

std::vector<std::string> Strings(const std::vector<int>& values) {
  std::vector<std::string> strings;
  for (int value : values) strings.push_back(std::to_string(value));
  return strings;
}

std::vector<int> ClassOrder(int ways) {
  std::vector<int> order;
  for (int i = 0; i < ways; ++i) order.push_back(ClassAt(i, ways));
  return order;
}

TEST(NumericsTest, ClassesMergeInTheTreeOfTheDesign) {
  EXPECT_EQ(TreeOf(Strings(ClassOrder(8))), "(((0,4),(2,6)),((1,5),(3,7)))");
  EXPECT_EQ(TreeOf(Strings(ClassOrder(4))), "((0,2),(1,3))");
  EXPECT_EQ(TreeOf(Strings(ClassOrder(2))), "(0,1)");
  EXPECT_EQ(TreeOf(Strings(ClassOrder(1))), "0");
  EXPECT_EQ(TreeOf(Strings(ClassOrder(6))), "(((0,1),(2,3)),(4,5))");
}

TEST(NumericsTest, RanksHoldWholeSubtrees) {
  // Rank k of kvp holds classes k, k + kvp, …; its own tree, put in place of the rank's number in the tree
  // over ranks, is the tree over all classes.
  for (int kvp : {1, 2, 4, 8}) {
    std::vector<std::string> ranks;
    for (int k : ClassOrder(kvp)) {
      std::vector<int> classes;
      for (int j : ClassOrder(8 / kvp)) classes.push_back(k + kvp * j);
      ranks.push_back(TreeOf(Strings(classes)));
    }
    EXPECT_EQ(TreeOf(ranks), TreeOf(Strings(ClassOrder(8)))) << kvp;
  }
}

TEST(NumericsTest, LeavesMergeAsNeighbours) {
  EXPECT_EQ(TreeOf(Strings({0, 1, 2, 3, 4, 5, 6, 7})), "(((0,1),(2,3)),((4,5),(6,7)))");
  EXPECT_EQ(TreeOf(Strings({0, 1, 2})), "((0,1),2)");
}

TEST(NumericsTest, LeavesCoverAllGroupsOnce) {
  for (int64_t groups : {0, 1, 3, 4, 8, 20, 28, 116, 1'000'000'007}) {
    for (int ways : {1, 3, 8}) {
      EXPECT_EQ(LeafBegin(groups, 0, ways), 0);
      EXPECT_EQ(LeafBegin(groups, ways, ways), groups);
      for (int leaf = 0; leaf < ways; ++leaf) {
        const int64_t size = LeafBegin(groups, leaf + 1, ways) - LeafBegin(groups, leaf, ways);
        EXPECT_GE(size, groups / ways);
        EXPECT_LE(size, (groups + ways - 1) / ways);
      }
    }
  }
  EXPECT_EQ(NumQuantGroups(0), 0);
  EXPECT_EQ(NumQuantGroups(32), 1);
  EXPECT_EQ(NumQuantGroups(33), 2);
}

TEST(NumericsTest, RanksThatDoNotDivideTheWaysGetTheirOwn) {
  for (int ranks : {1, 2, 4, 8}) EXPECT_EQ(ReductionWays(ranks), 8);
  for (int ranks : {3, 5, 6, 12, 16}) EXPECT_EQ(ReductionWays(ranks), ranks);
}

TEST(NumericsTest, TextNamesEverythingThatChangesBits) {
  Numerics numerics;
  numerics.block_size = 128;
  numerics.kv_dtype = DType::kF32;
  numerics.activation = ActivationDType::kBF16;
  numerics.isa = Isa::kAvx2;
  EXPECT_EQ(numerics.ToString(), "block 128, kv F32, activations bf16, isa avx2, ways 8");
}

TEST(DTypeTest, BlocksHoldTheBytesOfTheFileFormats) {
  EXPECT_EQ(RowBytes(DType::kF32, 5), 20u);
  EXPECT_EQ(RowBytes(DType::kBF16, 5), 10u);
  EXPECT_EQ(RowBytes(DType::kQ8_0, 64), 68u);
  EXPECT_EQ(RowBytes(DType::kQ4_K, 512), 288u);
  EXPECT_EQ(RowBytes(DType::kQ5_K, 512), 352u);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 512), 420u);
  EXPECT_TRUE(IsBlockFormat(DType::kQ5_1));
  EXPECT_FALSE(IsBlockFormat(DType::kF16));
  EXPECT_EQ(Traits(DType::kQ4_0).name, "Q4_0");
}

}  // namespace
}  // namespace longspan
