#include "kernels/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>

namespace longspan {
namespace {

// A sequence of which every block is on this rank; block i is page 100 + i.
struct WholeSequence {
  WholeSequence(int64_t num_blocks, int residue, int kvp) {
    for (int64_t i = residue; i < num_blocks; i += kvp) {
      blocks.push_back(i);
      pages.push_back(static_cast<int32_t>(100 + i));
    }
  }
  AttentionSequence At(int64_t first_row, int64_t rows, int64_t first_position, int residue = 0) const {
    return {first_row, rows, first_position, blocks, pages, residue};
  }
  std::vector<int64_t> blocks;
  std::vector<int32_t> pages;
};

AttentionPlanOptions Options() {
  AttentionPlanOptions options;
  options.block_size = 16;
  return options;
}

// The blocks that an item reads, class by class.
std::vector<std::vector<int64_t>> BlocksOf(const AttentionPlan& plan, const AttentionItem& item) {
  std::vector<std::vector<int64_t>> classes;
  for (int c = 0; c < item.class_count; ++c) {
    const AttentionClass& range = plan.classes[static_cast<size_t>(item.class_begin + c)];
    classes.emplace_back(plan.blocks.begin() + range.begin, plan.blocks.begin() + range.end);
  }
  return classes;
}

TEST(AttentionPlanTest, ClassesComeInMergeOrderAndBlocksAscend) {
  const WholeSequence sequence(18, 0, 1);
  const std::vector<AttentionSequence> sequences = {sequence.At(0, 1, 17 * 16 + 3)};
  const AttentionPlan plan = PlanAttention(sequences, 1, Options());
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.splits, 0);
  EXPECT_EQ(plan.items[0].split, -1);
  const std::vector<std::vector<int64_t>> expected = {{0, 8, 16}, {4, 12}, {2, 10}, {6, 14},
                                                      {1, 9, 17}, {5, 13}, {3, 11}, {7, 15}};
  EXPECT_EQ(BlocksOf(plan, plan.items[0]), expected);
  for (size_t i = 0; i < plan.blocks.size(); ++i) EXPECT_EQ(plan.pages[i], 100 + plan.blocks[i]);
  EXPECT_EQ(plan.blocks[static_cast<size_t>(plan.slots[0].block)], 17);
  EXPECT_EQ(plan.slots[0].row, 3);
}

TEST(AttentionPlanTest, ARankPlansItsResidueOnly) {
  for (int residue : {0, 1}) {
    const WholeSequence sequence(9, residue, 2);
    AttentionPlanOptions options = Options();
    options.kvp = 2;
    const std::vector<AttentionSequence> sequences = {sequence.At(0, 16, 8 * 16 - 8, residue)};
    const AttentionPlan plan = PlanAttention(sequences, 16, options);
    ASSERT_EQ(plan.items.size(), 2u);
    const std::vector<std::vector<int64_t>> even = {{0, 8}, {4}, {2}, {6}}, odd = {{1}, {5}, {3}, {7}};
    EXPECT_EQ(BlocksOf(plan, plan.items[1]), residue == 0 ? even : odd);
    for (int row = 0; row < 16; ++row) {  // the first eight rows are in block 7, the others in block 8
      EXPECT_EQ(plan.slots[static_cast<size_t>(row)].block >= 0, (row < 8) == (residue == 1)) << row;
    }
  }
}

TEST(AttentionPlanTest, BlocksOutsideWhatATileSeesAreLeftOut) {
  const WholeSequence sequence(12, 0, 1);
  AttentionPlanOptions options = Options();
  options.window = 20;
  options.max_tile_rows = 4;
  const std::vector<AttentionSequence> sequences = {sequence.At(0, 10, 5 * 16)};
  const AttentionPlan plan = PlanAttention(sequences, 10, options);
  ASSERT_EQ(plan.items.size(), 3u);
  for (const AttentionItem& item : plan.items) {
    std::set<int64_t> blocks;
    for (const auto& blocks_of_class : BlocksOf(plan, item))
      blocks.insert(blocks_of_class.begin(), blocks_of_class.end());
    const int64_t oldest = (item.first_position - 19) / 16;
    EXPECT_EQ(*blocks.begin(), oldest);
    EXPECT_EQ(*blocks.rbegin(), 5);
    EXPECT_EQ(blocks.size(), static_cast<size_t>(6 - oldest));
  }
  EXPECT_EQ(std::set<int64_t>(plan.blocks.begin(), plan.blocks.end()), (std::set<int64_t>{3, 4, 5}));
}

TEST(AttentionPlanTest, TilesCoverEveryRowOnce) {
  const WholeSequence first(2, 0, 1), second(3, 0, 1);
  const std::vector<AttentionSequence> sequences = {first.At(0, 19, 3), second.At(19, 8, 40)};
  for (int64_t min_items : {1, 6}) {
    AttentionPlanOptions options = Options();
    options.min_items = min_items;
    const AttentionPlan plan = PlanAttention(sequences, 27, options);
    EXPECT_EQ(plan.splits, min_items == 1 ? 0 : 8);
    std::vector<int> seen(27, 0);
    std::set<std::pair<int, int>> splits;
    for (const AttentionItem& item : plan.items) {
      EXPECT_LE(item.rows, 8);
      EXPECT_EQ(item.first_position, item.first_row < 19 ? 3 + item.first_row : 40 + item.first_row - 19);
      EXPECT_EQ(item.class_count, min_items == 1 ? 8 : 1);
      EXPECT_TRUE(splits.insert({item.first_row, item.split}).second);
      for (int r = 0; r < item.rows; ++r) ++seen[static_cast<size_t>(item.first_row + r)];
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), min_items == 1 ? 1 : 8), 27);
  }
}

TEST(AttentionPlanTest, PagesOfABlockStayTogether) {
  WholeSequence sequence(3, 0, 1);
  sequence.pages = {7, 3, 9, 1, 5, 4};
  AttentionPlanOptions options = Options();
  options.pages_per_block = 2;
  const std::vector<AttentionSequence> sequences = {sequence.At(0, 1, 40)};
  const AttentionPlan plan = PlanAttention(sequences, 1, options);
  EXPECT_EQ(plan.blocks, (std::vector<int64_t>{0, 2, 1}));
  EXPECT_EQ(plan.pages, (std::vector<int32_t>{7, 3, 5, 4, 9, 1}));
}

}  // namespace
}  // namespace longspan
