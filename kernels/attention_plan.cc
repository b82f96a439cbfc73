#include "kernels/attention_plan.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/numerics.h"

namespace longspan {
namespace {

// Local classes in merge order: positions in the order of this rank's residue are the bit-reversed multiples
// of kvp.
std::vector<int> LocalClasses(int residue, const AttentionPlanOptions& options) {
  const int local = options.ways / options.kvp;
  std::vector<int> classes;
  for (int j : ClassOrder(local)) classes.push_back(residue + options.kvp * j);
  return classes;
}

// Blocks [first, last] hold every position that rows [row, row + rows) of the sequence can see.
struct VisibleBlocks {
  int64_t first = 0, last = 0;
};

VisibleBlocks Visible(int64_t first_position, int64_t rows, const AttentionPlanOptions& options) {
  VisibleBlocks visible;
  if (options.window > 0) {
    visible.first = std::max<int64_t>(0, first_position - options.window + 1) / options.block_size;
  }
  visible.last = (first_position + rows - 1) / options.block_size;
  return visible;
}

// Copies the sequence's blocks to the plan, class by class; returns for each local class its range in the
// plan.
std::vector<AttentionClass> PlaceBlocks(const AttentionSequence& sequence, const std::vector<int>& classes,
                                        const AttentionPlanOptions& options, AttentionPlan& plan) {
  const VisibleBlocks visible = Visible(sequence.first_position, sequence.rows, options);
  const size_t pages = static_cast<size_t>(options.pages_per_block);
  std::vector<AttentionClass> ranges;
  for (int c : classes) {
    AttentionClass range;
    range.begin = static_cast<int32_t>(plan.blocks.size());
    for (size_t i = 0; i < sequence.block_indices.size(); ++i) {
      const int64_t index = sequence.block_indices[i];
      if (index % options.ways != c || index < visible.first || index > visible.last) continue;
      plan.blocks.push_back(index);
      plan.pages.insert(plan.pages.end(), sequence.pages.begin() + static_cast<int64_t>(i * pages),
                        sequence.pages.begin() + static_cast<int64_t>((i + 1) * pages));
    }
    range.end = static_cast<int32_t>(plan.blocks.size());
    ranges.push_back(range);
  }
  return ranges;
}

void PlaceSlots(const AttentionSequence& sequence, const std::vector<int>& classes,
                const std::vector<AttentionClass>& ranges, const AttentionPlanOptions& options,
                AttentionPlan& plan) {
  for (int64_t r = 0; r < sequence.rows; ++r) {
    const int64_t position = sequence.first_position + r;
    const int64_t index = position / options.block_size;
    const auto c = std::find(classes.begin(), classes.end(), static_cast<int>(index % options.ways));
    if (c == classes.end()) continue;
    const AttentionClass& range = ranges[static_cast<size_t>(c - classes.begin())];
    const auto block =
        std::lower_bound(plan.blocks.begin() + range.begin, plan.blocks.begin() + range.end, index);
    LONGSPAN_CHECK(block != plan.blocks.begin() + range.end && *block == index);
    plan.slots[static_cast<size_t>(sequence.first_row + r)] = {
        static_cast<int32_t>(block - plan.blocks.begin()),
        static_cast<int32_t>(position % options.block_size)};
  }
}

}  // namespace

AttentionPlan PlanAttention(std::span<const AttentionSequence> sequences, int64_t num_rows,
                            const AttentionPlanOptions& options) {
  LONGSPAN_CHECK(options.ways % options.kvp == 0);
  AttentionPlan plan;
  plan.slots.resize(static_cast<size_t>(num_rows));
  int64_t tiles = 0;
  for (const AttentionSequence& s : sequences)
    tiles += (s.rows + options.max_tile_rows - 1) / options.max_tile_rows;
  const int local_classes = options.ways / options.kvp;
  const bool split = tiles < options.min_items && local_classes > 1;
  plan.splits = split ? local_classes : 0;

  for (const AttentionSequence& sequence : sequences) {
    const std::vector<int> classes = LocalClasses(sequence.residue, options);
    const std::vector<AttentionClass> ranges = PlaceBlocks(sequence, classes, options, plan);
    PlaceSlots(sequence, classes, ranges, options, plan);
    for (int64_t row = 0; row < sequence.rows; row += options.max_tile_rows) {
      AttentionItem item;
      item.first_row = static_cast<int32_t>(sequence.first_row + row);
      item.rows = static_cast<int32_t>(std::min<int64_t>(options.max_tile_rows, sequence.rows - row));
      item.first_position = sequence.first_position + row;
      const VisibleBlocks visible = Visible(item.first_position, item.rows, options);
      item.class_begin = static_cast<int32_t>(plan.classes.size());
      for (const AttentionClass& range : ranges) {
        const auto begin = plan.blocks.begin();
        const auto first = std::lower_bound(begin + range.begin, begin + range.end, visible.first);
        const auto last = std::upper_bound(first, begin + range.end, visible.last);
        plan.classes.push_back({static_cast<int32_t>(first - begin), static_cast<int32_t>(last - begin)});
      }
      if (!split) {
        item.class_count = local_classes;
        plan.items.push_back(item);
        continue;
      }
      item.class_count = 1;
      for (int c = 0; c < local_classes; ++c) {
        item.split = c;
        plan.items.push_back(item);
        ++item.class_begin;
      }
    }
  }
  return plan;
}

}  // namespace longspan
