// Host planning of paged attention: sequences and their local KV blocks become flat arrays that a kernel
// reads.
//
// One plan serves all layers of a layer group in one step. The arrays are uploaded to the device as they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longspan {

// Rows of one sequence in the batch, and the sequence's blocks that this rank holds.
struct AttentionSequence {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t first_position = 0;  // of the first row; the others follow
  std::span<const int64_t>
      block_indices;               // ascending; block i holds tokens [i * block_size, (i + 1) * block_size)
  std::span<const int32_t> pages;  // [block_indices.size(), pages_per_block], see KvLayer
  // Block i belongs to class i mod ways, and this rank holds the classes congruent to `residue` modulo `kvp`.
  int residue = 0;
};

// Where the keys and values of one batch row go: a block of the plan, or -1 when another rank owns it.
struct KvSlot {
  int32_t block = -1;
  int32_t row = 0;  // token within the block
};

// Rows of one item of a plan: so many that each read of a KV block serves about this many queries of its
// head.
inline constexpr int kQueriesPerItem = 96;
inline int MaxTileRows(int heads_per_kv_head) {
  return heads_per_kv_head < kQueriesPerItem ? kQueriesPerItem / heads_per_kv_head : 1;
}

// With fewer items than this they are split by class: every thread has about four pieces of work.
inline int64_t MinItems(int kv_heads, int threads) {
  return threads == 1 ? 1 : (4 * threads + kv_heads - 1) / kv_heads;
}

struct AttentionPlanOptions {
  int block_size = 64;
  int64_t window = 0;  // 0 = all earlier positions
  int ways = 8;        // classes in all
  int kvp = 1;         // ranks that share the classes
  int pages_per_block = 1;
  int max_tile_rows = 8;  // batch rows of one item
  int64_t min_items = 1;  // split every item by class when there would be fewer items than this
};

// One unit of work for each KV head: a tile of rows of one sequence against some of its classes.
struct AttentionItem {
  int32_t first_row = 0;
  int32_t rows = 0;
  int64_t first_position = 0;
  int32_t class_begin = 0;  // into classes
  int32_t class_count = 0;
  // -1: classes are merged and written to the output. Else the item has one class, and its results are rows
  // [first_row, first_row + rows) of split `split`, merged afterwards.
  int32_t split = -1;
  int32_t padding = 0;
};

// Blocks of one class of one tile's sequence, ascending: [begin, end) into blocks.
struct AttentionClass {
  int32_t begin = 0;
  int32_t end = 0;
};

struct AttentionPlan {
  std::vector<int64_t> blocks;  // block indices, by sequence, then class in merge order, then ascending
  std::vector<int32_t> pages;   // [blocks.size(), pages_per_block]
  std::vector<AttentionClass> classes;  // in merge order (numerics.h, ClassAt)
  std::vector<AttentionItem> items;
  std::vector<KvSlot> slots;               // [rows of the batch]
  int splits = 0;                          // local classes when items are split by class, else 0
  std::vector<AttentionClass> work_space;  // of PlanAttention
};

// `num_rows` is the number of rows of the batch; every row belongs to one sequence. Blocks that no row of a
// tile can see are left out. A block that receives a row of the batch must be among the sequence's blocks on
// its owner. Replaces *plan, in the memory that it has.
void PlanAttention(std::span<const AttentionSequence> sequences, int64_t num_rows,
                   const AttentionPlanOptions& options, AttentionPlan* plan);
inline AttentionPlan PlanAttention(std::span<const AttentionSequence> sequences, int64_t num_rows,
                                   const AttentionPlanOptions& options) {
  AttentionPlan plan;
  PlanAttention(sequences, num_rows, options, &plan);
  return plan;
}

}  // namespace longspan
