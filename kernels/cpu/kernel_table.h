// The functions that exist once for each instruction set, and their plain arguments.
//
// All pointers are host addresses. Functions are called by several threads at once on disjoint ranges.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention_plan.h"
#include "kernels/dtype.h"
#include "kernels/numerics.h"

namespace longspan {

inline constexpr int kMaxParts = 64;  // ranks whose partials are merged or summed
inline constexpr int kMaxTileQueries =
    kQueriesPerItem;                        // queries (rows times heads of one KV head) folded together
inline constexpr int kAttentionPanel = 64;  // columns that attention works on at a time

// Rows of activations, cut into tiles of 8, 4, 2 and 1 rows; within a tile the rows of one value are
// neighbours, so that a kernel finds them at constant offsets: tile of R rows that begins at row i: values
// [columns][R] at i * stride.
struct PackedActivations {
  int64_t rows = 0;
  int64_t groups = 0;             // of 32 columns, the last filled up with zeros
  const float* values = nullptr;  // [groups * 32][R]
  // For int8 products, else null:
  const int32_t* quants = nullptr;     // [groups * 8][R] four int8 each
  const float* scales = nullptr;       // [groups][R]
  const int32_t* low_sums = nullptr;   // [groups][R] sums of the quants of columns 0..15
  const int32_t* high_sums = nullptr;  // [groups][R] and of columns 16..31
  const float* scaled_sums = nullptr;  // [groups][R] scale times the sum of all
};
inline constexpr int kMaxTileRows = 8;
inline constexpr int kActivationSlack = 16;  // values after the last one of each array that may be read

// Rows in the tile that begins where `remaining` rows are left.
static inline int TileRows(int64_t remaining) {
  return remaining >= 8 ? 8 : remaining >= 4 ? 4 : remaining >= 2 ? 2 : 1;
}

struct LinearArgs {
  DType dtype = DType::kF32;
  const uint8_t* panels = nullptr;
  size_t panel_bytes = 0;
  int64_t outputs = 0;  // rows of the weight
  int64_t groups = 0;
  int super_phase = 0;  // position of the first group within its super-block
  const int64_t* leaf_ends = nullptr;
  int leaves = 1;
  bool int8_activations = false;
  PackedActivations x;
  float* out = nullptr;
  int64_t out_stride = 0;
};

inline constexpr int kMaxPanelsAtOnce = 3;

// Work space of one call of linear, in floats: the sums of all rows for each open level of the tree of
// leaves.
static inline size_t LinearSumFloats(int64_t rows, int leaves) {
  int levels = 0;
  for (int n = leaves; n > 0; n /= 2) ++levels;
  return static_cast<size_t>(rows) * kMaxPanelsAtOnce * 16 * static_cast<size_t>(levels);
}

struct PackActivationsArgs {
  const float* x = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  bool round_to_bf16 = false;
  float* values = nullptr;    // null when int8
  int32_t* quants = nullptr;  // null unless int8
  float* scales = nullptr;
  int32_t* low_sums = nullptr;
  int32_t* high_sums = nullptr;
  float* scaled_sums = nullptr;
};

struct AttentionKernelArgs {
  const float* queries = nullptr;  // [n, heads * head_dim]
  int64_t query_stride = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  int block_size = 0;
  bool kv_is_f32 = false;
  float query_scale = 1;
  float score_cap = 0;
  const std::byte* kv_base = nullptr;
  size_t page_bytes = 0;
  int pages_per_block = 1, page_column = 0;
  size_t piece_bytes = 0;
  int64_t window = 0;
  const int64_t* blocks = nullptr;
  const int32_t* pages = nullptr;
  const AttentionClass* classes = nullptr;
  // Results of row i, head h: out + i * out_stride + h * head_dim and lse + i * lse_stride + h; of splits:
  // offset by split times the strides below.
  float* out = nullptr;
  int64_t out_stride = 0;
  float* lse = nullptr;
  int64_t lse_stride = 0;
  float* split_out = nullptr;  // [splits][n][heads * head_dim]
  float* split_lse = nullptr;  // [splits][n][heads]
  int64_t split_rows = 0;
};

// Work space of one attention call: offsets in floats, each array aligned like the whole. A panel is 64
// columns of all rows; rows are queries.
struct AttentionScratch {
  size_t queries;  // [panels of head_dim][rows][64], scaled
  size_t scores;   // [panels of a block's tokens][rows][64]
  size_t outputs;  // [panels of head_dim][rows][64] of the class that is being folded
  size_t sums;     // [rows][16] of that class, by lane
  size_t maxima;   // [rows]
  size_t panel;    // [64][64] of one block's keys or values in f32
  size_t results;  // [classes][rows][head_dim] normalised
  size_t lses;     // [classes][rows]
  size_t total;
};

static inline AttentionScratch LayOutAttentionScratch(int head_dim, int block_size, int classes) {
  const auto panels = [](int columns) {
    return static_cast<size_t>((columns + kAttentionPanel - 1) / kAttentionPanel);
  };
  const size_t rows = kMaxTileQueries, panel = rows * kAttentionPanel, head = static_cast<size_t>(head_dim);
  AttentionScratch at = {};
  at.scores = at.queries + panels(head_dim) * panel;
  at.outputs = at.scores + panels(block_size) * panel;
  at.sums = at.outputs + panels(head_dim) * panel;
  at.maxima = at.sums + rows * 16;
  at.panel = at.maxima + rows;
  at.results = at.panel + kAttentionPanel * kAttentionPanel;
  at.lses = at.results + static_cast<size_t>(classes) * rows * head;
  at.total = at.lses + static_cast<size_t>(classes) * rows;
  return at;
}

// Partials of the heads of one row, or of some of their columns.
struct MergeArgs {
  const float* const* outs = nullptr;  // [count] → [width] normalised values
  const float* const* lses = nullptr;  // [count] → [heads]
  int count = 0;
  int heads = 0, head_dim = 0;
  int64_t first_column = 0, width = 0;  // columns kept of heads * head_dim
  float* out = nullptr;                 // [width]
  float* lse = nullptr;                 // [heads]; null = not wanted
};

struct KernelTable {
  const char* name;
  int panels_at_once;  // worth giving to one call of linear with many rows
  // Panels [begin, end) for all rows. sums: work space, LinearSumFloats(args).
  void (*linear)(const LinearArgs& args, int64_t begin, int64_t end, float* sums);
  // Tiles that begin at rows [begin, end); begin is a multiple of 8.
  void (*pack_activations)(const PackActivationsArgs& args, int64_t begin, int64_t end);
  // Row `row` of the weight times scale.
  void (*weight_row)(const LinearArgs& args, int64_t row, int64_t columns, float scale, float* out);
  // scratch: LayOutAttentionScratch().total floats for the item's classes, aligned to 64 bytes.
  void (*attention)(const AttentionKernelArgs& args, const AttentionItem& item, int kv_head, float* scratch);
  // Merges partials in neighbour-tree order.
  void (*merge)(const MergeArgs& args);
  // x += norm(update) * post (post null: += update; update null: nothing); out = norm(x) * weight.
  void (*residual_norm)(float* x, const float* update, const float* post, const float* weight, float epsilon,
                        int64_t n, float* out);
  void (*gated)(bool gelu_tanh, const float* gate, const float* up, int64_t n, float* out);
  void (*soft_cap)(float* x, int64_t n, float cap);
  void (*sum_parts)(const float* parts, int count, int64_t stride, int64_t begin, int64_t end, float* out);
};

namespace avx512 {
const KernelTable& Kernels();
}
namespace avx2 {
const KernelTable& Kernels();
}
namespace portable {
const KernelTable& Kernels();
}

}  // namespace longspan
