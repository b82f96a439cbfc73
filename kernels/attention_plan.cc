#include "kernels/attention_plan.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/numerics.h"

namespace longspan {
namespace {

// Class number `i` of this rank in merge order: positions in the order of this rank's residue are the
// bit-reversed multiples of kvp.
int LocalClass(int i, int residue, const AttentionPlanOptions& options) {
  return residue + options.kvp * ClassAt(i, options.ways / options.kvp);
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

// Copies the sequence's blocks to the plan, class by class, and the range of each local class in the plan to
// plan.work_space.
void PlaceBlocks(const AttentionSequence& sequence, const AttentionPlanOptions& options,
                 AttentionPlan& plan) {
  const VisibleBlocks visible = Visible(sequence.first_position, sequence.rows, options);
  const size_t pages = static_cast<size_t>(options.pages_per_block);
  plan.work_space.clear();
  for (int i = 0; i < options.ways / options.kvp; ++i) {
    const int local_class = LocalClass(i, sequence.residue, options);
    AttentionClass range;
    range.begin = static_cast<int32_t>(plan.blocks.size());
    for (size_t b = 0; b < sequence.block_indices.size(); ++b) {
      const int64_t index = sequence.block_indices[b];
      if (index % options.ways != local_class || index < visible.first || index > visible.last) continue;
      plan.blocks.push_back(index);
      plan.pages.insert(plan.pages.end(), sequence.pages.begin() + static_cast<int64_t>(b * pages),
                        sequence.pages.begin() + static_cast<int64_t>((b + 1) * pages));
    }
    range.end = static_cast<int32_t>(plan.blocks.size());
    plan.work_space.push_back(range);
  }
}

void PlaceSlots(const AttentionSequence& sequence, const AttentionPlanOptions& options, AttentionPlan& plan) {
  for (int64_t r = 0; r < sequence.rows; ++r) {
    const int64_t position = sequence.first_position + r;
    const int64_t index = position / options.block_size;
    const int offset = static_cast<int>(index % options.ways) - sequence.residue;
    if (offset % options.kvp != 0) continue;
    const int local_class = ClassAt(offset / options.kvp, options.ways / options.kvp);
    const AttentionClass& range = plan.work_space[static_cast<size_t>(local_class)];
    const auto block =
        std::lower_bound(plan.blocks.begin() + range.begin, plan.blocks.begin() + range.end, index);
    LONGSPAN_CHECK(block != plan.blocks.begin() + range.end && *block == index);
    plan.slots[static_cast<size_t>(sequence.first_row + r)] = {
        static_cast<int32_t>(block - plan.blocks.begin()),
        static_cast<int32_t>(position % options.block_size)};
  }
}

}  // namespace

void PlanAttention(std::span<const AttentionSequence> sequences, int64_t num_rows,
                   const AttentionPlanOptions& options, AttentionPlan* out) {
  LONGSPAN_CHECK(options.ways % options.kvp == 0);
  AttentionPlan& plan = *out;
  plan.blocks.clear();
  plan.pages.clear();
  plan.classes.clear();
  plan.items.clear();
  plan.slots.assign(static_cast<size_t>(num_rows), KvSlot());
  int64_t tiles = 0;
  for (const AttentionSequence& s : sequences)
    tiles += (s.rows + options.max_tile_rows - 1) / options.max_tile_rows;
  const int local_classes = options.ways / options.kvp;
  const bool split = tiles < options.min_items && local_classes > 1;
  plan.splits = split ? local_classes : 0;

  for (const AttentionSequence& sequence : sequences) {
    PlaceBlocks(sequence, options, plan);
    PlaceSlots(sequence, options, plan);
    for (int64_t row = 0; row < sequence.rows; row += options.max_tile_rows) {
      AttentionItem item;
      item.first_row = static_cast<int32_t>(sequence.first_row + row);
      item.rows = static_cast<int32_t>(std::min<int64_t>(options.max_tile_rows, sequence.rows - row));
      item.first_position = sequence.first_position + row;
      const VisibleBlocks visible = Visible(item.first_position, item.rows, options);
      item.class_begin = static_cast<int32_t>(plan.classes.size());
      for (const AttentionClass& range : plan.work_space) {
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
}

}  // namespace longspan
