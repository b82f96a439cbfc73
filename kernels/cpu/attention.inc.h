// Attention of a tile of query rows over paged KV blocks, one source for every instruction set.
//
// For each query row: a class's blocks fold in order of position by online softmax (arXiv 1805.02867), each
// block as a whole; the class becomes a normalised output and a log-sum-exp; classes merge in a fixed tree.
// No step depends on the other rows of a tile, so tiling, chunking and sharding leave the bits alone: a score
// is one chain of multiply-adds over the dimensions, an output one over the tokens that the row sees.
#pragma once

#include "kernels/cpu/attention_merge.inc.h"
#include "kernels/cpu/attention_panel.inc.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

namespace longspan::LONGSPAN_ISA {

// Scores are in units of ln 2, so that weights are powers of two.
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
inline constexpr float kLowest = -1e30f;  // below every score: 2^(x - kLowest) of a masked x is 0, never NaN
inline constexpr float kMasked = -__builtin_inff();

// Up to so many rows read keys and values as they are stored. More rows share a copy of each panel in f32.
inline constexpr int kMaxStreamedRows = 12;

// Query rows that share one KV head while one class folds. Row j is query head j % group of batch row
// j / group; positions ascend.
struct Tile {
  int rows;
  int head_dim;
  int block_size;
  int64_t window;   // 0 = all earlier positions
  float score_cap;  // 0 = none
  int64_t positions[kMaxTileQueries];
  // Tokens of the current block that each row sees: [begin, end), 0 and 0 if none.
  int begin[kMaxTileQueries], end[kMaxTileQueries];
  bool whole;  // every row sees every token of the block
  bool fresh;  // nothing was folded yet: outputs count as zero, whatever is there
  // See AttentionScratch.
  float* queries;
  float* scores;
  float* outputs;
  float* sums;
  float* maxima;
  float* panel;

  int PanelOffset(int column, int row) const { return (column / kPanel * rows + row) * kPanel; }
};

// The rows that one register tile covers, and the tokens of the block that any of them sees.
struct RowGroup {
  int row, rows;
  int begin, end;
};

template <typename Function>
inline void ForEachGroup(const Tile& tile, Function&& function) {
  for (int row = 0; row < tile.rows;) {
    const int rows = RowsAtOnce(tile.rows - row);
    if (tile.whole) {
      function(RowGroup{row, rows, 0, tile.block_size});
      row += rows;
      continue;
    }
    RowGroup group = {row, rows, tile.block_size, 0};
    for (int r = row; r < row + rows; ++r) {
      if (tile.begin[r] == tile.end[r]) continue;
      if (tile.begin[r] < group.begin) group.begin = tile.begin[r];
      if (tile.end[r] > group.end) group.end = tile.end[r];
    }
    if (group.begin < group.end) function(group);
    row += rows;
  }
}

// Sets what each row sees of the block; false if no row sees anything.
inline bool SetVisible(Tile& tile, int64_t first_token) {
  const auto clamp = [&](int64_t token) {
    return static_cast<int>(token < 0 ? 0 : token < tile.block_size ? token : tile.block_size);
  };
  bool any = false;
  tile.whole = true;
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t position = tile.positions[r] - first_token;
    const int begin = tile.window > 0 ? clamp(position - tile.window + 1) : 0, end = clamp(position + 1);
    tile.begin[r] = begin < end ? begin : 0;
    tile.end[r] = begin < end ? end : 0;
    any |= begin < end;
    tile.whole &= begin == 0 && end == tile.block_size;
  }
  return any;
}

inline int NumVectors(int columns) { return (columns < kPanel ? columns : kPanel) / 16; }

template <bool kStreamed, typename Matrix>
inline void ScorePanel(const Tile& tile, const Matrix& keys, int token, int d) {
  const int dimensions = 16 * NumVectors(tile.head_dim - d), vectors = NumVectors(tile.block_size - token);
  const auto multiply = [&](const auto& b) {
    ForEachGroup(tile, [&](const RowGroup& group) {
      const int first = group.begin > token ? (group.begin - token) / 16 : 0;
      const int last = group.end - token < kPanel ? (group.end - token + 15) / 16 : vectors;
      Multiply(group.rows, tile.queries + tile.PanelOffset(d, group.row), b.ForRows(group.row), first, last,
               0, dimensions, d == 0, tile.scores + tile.PanelOffset(token, group.row));
    });
  };
  if constexpr (kStreamed) {
    multiply(keys);
  } else {
    multiply(CopyPanel(keys, dimensions, vectors, tile.panel));
  }
}

// Adds the tokens [token, token + 64) that the group's rows see to one panel of their outputs. Rows that see
// different tokens share what they have in common; a token that a row does not see, which may be anything, a
// NaN too, never touches its output.
template <typename Matrix>
inline void AccumulateGroup(const Tile& tile, const RowGroup& group, const Matrix& values, int token, int d) {
  const int vectors = NumVectors(tile.head_dim - d);
  if (tile.whole) {
    return Multiply(group.rows, tile.scores + tile.PanelOffset(token, group.row), values, 0, vectors, 0,
                    16 * NumVectors(tile.block_size - token), tile.fresh && token == 0,
                    tile.outputs + tile.PanelOffset(d, group.row));
  }
  const auto clamp = [&](int t) { return t < token ? 0 : t < token + kPanel ? t - token : kPanel; };
  int common_begin = 0, common_end = kPanel;
  for (int r = group.row; r < group.row + group.rows; ++r) {
    const int begin = clamp(tile.begin[r]), end = clamp(tile.end[r]);
    common_begin = begin > common_begin ? begin : common_begin;
    common_end = end < common_end ? end : common_end;
  }
  common_begin += common_begin % 2;
  common_end -= common_end % 2;
  if (common_begin > common_end) common_begin = common_end = kPanel;
  const auto one_row = [&](int r, int begin, int end) {
    if (begin >= end) return;
    MultiplyOneRow(tile.scores + tile.PanelOffset(token, r), values, vectors, begin, end,
                   tile.outputs + tile.PanelOffset(d, r));
  };
  for (int r = group.row; r < group.row + group.rows; ++r) {
    const int end = clamp(tile.end[r]);
    one_row(r, clamp(tile.begin[r]), end < common_begin ? end : common_begin);
  }
  if (common_begin < common_end) {
    Multiply(group.rows, tile.scores + tile.PanelOffset(token, group.row), values, 0, vectors, common_begin,
             common_end, false, tile.outputs + tile.PanelOffset(d, group.row));
  }
  for (int r = group.row; r < group.row + group.rows; ++r) {
    const int begin = clamp(tile.begin[r]);
    one_row(r, begin > common_end ? begin : common_end, clamp(tile.end[r]));
  }
}

template <bool kStreamed, typename Matrix>
inline void AccumulatePanel(const Tile& tile, const Matrix& values, int token, int d) {
  const int tokens = 16 * NumVectors(tile.block_size - token);
  const auto accumulate = [&](const auto& b) {
    ForEachGroup(
        tile, [&](const RowGroup& group) { AccumulateGroup(tile, group, b.ForRows(group.row), token, d); });
  };
  if constexpr (kStreamed) {
    accumulate(values);
  } else {
    accumulate(CopyPanel(values, tokens, NumVectors(tile.head_dim - d), tile.panel));
  }
}

// Calls function(scores, first token) for each sixteen tokens that the row sees some of.
template <typename Function>
[[gnu::always_inline]] inline void ForEachScores(const Tile& tile, int row, Function&& function) {
  if (tile.whole) {
    for (int panel = 0; panel < tile.block_size; panel += kPanel) {
      float* scores = tile.scores + tile.PanelOffset(panel, row);
      const int vectors = NumVectors(tile.block_size - panel);
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) function(scores + 16 * i, panel + 16 * i);
    }
    return;
  }
  const int end = tile.end[row];
  for (int t = tile.begin[row] / 16 * 16; t < end;) {
    float* scores = tile.scores + tile.PanelOffset(t, row) - t / kPanel * kPanel;
    const int panel_end = (t / kPanel + 1) * kPanel, to = end < panel_end ? end : panel_end;
    for (; t < to; t += 16) function(scores + t, t);
  }
}

// Turns the scores of every row into weights, and rescales what a row has so far when its maximum grows.
// One step for all rows before the next, since a step of one row is a chain of slow instructions.
inline void Softmax(const Tile& tile) {
  float old_maxima[kMaxTileQueries];
  for (int row = 0; row < tile.rows; ++row) {
    const int begin = tile.begin[row], end = tile.end[row];
    old_maxima[row] = tile.maxima[row];
    F32 largest = Set1(tile.maxima[row]);
    ForEachScores(tile, row, [&](float* scores, int t) {
      F32 s = Load(scores);
      if (tile.score_cap > 0)
        s = Mul(Tanh(Mul(s, Set1(1.0f / tile.score_cap))), Set1(tile.score_cap * kLog2E));
      if (t < begin || t + 16 > end) {
        s = KeepLanes(s, t < begin ? begin - t : 0, end - t < 16 ? end - t : 16, kMasked);
      }
      if (tile.score_cap > 0 || t < begin || t + 16 > end) Store(scores, s);
      largest = Max(s, largest);
    });
    tile.maxima[row] = ReduceMax(largest);
  }
  for (int row = 0; row < tile.rows; ++row) {
    if (tile.fresh || tile.maxima[row] == old_maxima[row]) continue;
    const F32 factor = Exp2(Set1(old_maxima[row] - tile.maxima[row]));
    float* sums = tile.sums + 16 * row;
    Store(sums, Mul(Load(sums), factor));
    for (int d = 0; d < tile.head_dim; d += 16) {
      float* out = tile.outputs + tile.PanelOffset(d, row) + d % kPanel;
      Store(out, Mul(Load(out), factor));
    }
  }
  for (int row = 0; row < tile.rows; ++row) {
    const F32 maximum = Set1(tile.maxima[row]);
    F32 sum = Load(tile.sums + 16 * row);
    ForEachScores(tile, row, [&](float* scores, int) {
      const F32 weight = Exp2(Sub(Load(scores), maximum));
      Store(scores, weight);
      sum = Add(sum, weight);
    });
    Store(tile.sums + 16 * row, sum);
  }
}

template <bool kStreamed, typename Matrix>
inline void FoldBlock(const Tile& tile, const Matrix& keys, const Matrix& values) {
  for (int token = 0; token < tile.block_size; token += kPanel) {
    for (int d = 0; d < tile.head_dim; d += kPanel) {
      ScorePanel<kStreamed>(tile, keys.At(d, token, tile.head_dim), token, d);
    }
  }
  Softmax(tile);
  for (int d = 0; d < tile.head_dim; d += kPanel) {
    for (int token = 0; token < tile.block_size; token += kPanel) {
      AccumulatePanel<kStreamed>(tile, values.At(token, d, tile.block_size), token, d);
    }
  }
}

// Keys, then values of one piece (KvLayout). Each half brings that of the next piece nearer.
template <typename Matrix, typename Element>
inline void FoldPiece(const Tile& tile, const std::byte* piece, const std::byte* next, size_t piece_bytes) {
  const auto* second = piece + piece_bytes / 2;
  const Matrix keys = {reinterpret_cast<const Element*>(piece), tile.block_size,
                       reinterpret_cast<const char*>(next)};
  const Matrix values = {reinterpret_cast<const Element*>(second), tile.head_dim,
                         reinterpret_cast<const char*>(next + piece_bytes / 2)};
  if (tile.rows <= kMaxStreamedRows) {
    FoldBlock<true>(tile, keys, values);
  } else {
    FoldBlock<false>(tile, keys, values);
  }
}

inline void FoldClass(const AttentionKernelArgs& args, Tile& tile, const AttentionClass& blocks,
                      int kv_head) {
  for (int r = 0; r < tile.rows; ++r) {
    tile.maxima[r] = kLowest;
    Store(tile.sums + 16 * r, Zero());
  }
  const auto clear_outputs = [&] {
    const int outputs = tile.PanelOffset(tile.head_dim + kPanel - 1, 0);
    for (int i = 0; i < outputs; i += 16) Store(tile.outputs + i, Zero());
    tile.fresh = false;
  };
  tile.fresh = true;
  const auto piece = [&](int32_t block) {
    const int64_t page = args.pages[static_cast<int64_t>(block) * args.pages_per_block + args.page_column];
    return args.kv_base + static_cast<size_t>(page) * args.page_bytes +
           static_cast<size_t>(kv_head) * args.piece_bytes;
  };
  for (int32_t b = blocks.begin; b < blocks.end; ++b) {
    if (!SetVisible(tile, args.blocks[b] * args.block_size)) continue;
    if (tile.fresh && !tile.whole) clear_outputs();
    const std::byte* next = piece(b + 1 < blocks.end ? b + 1 : b);
    if (args.kv_is_f32) {
      FoldPiece<F32Matrix, float>(tile, piece(b), next, args.piece_bytes);
    } else {
      FoldPiece<Bf16Matrix, uint16_t>(tile, piece(b), next, args.piece_bytes);
    }
    tile.fresh = false;
  }
  if (tile.fresh) clear_outputs();
}

// The class's results: outputs divided by the sums, -0 made +0, and log-sum-exps. A sum is zero when no key
// was seen; when it is NaN the outputs are too and must reach the merged result. out(row) is where they go.
template <typename Out>
inline void Normalize(const Tile& tile, Out&& out, float* lses) {
  for (int first = 0; first < tile.rows; first += 16) {
    const int rows = tile.rows - first < 16 ? tile.rows - first : 16;
    float sums[16] = {}, inverses[16];
    for (int r = 0; r < rows; ++r) sums[r] = ReduceAdd(Load(tile.sums + 16 * (first + r)));
    const F32 sum = Load(sums), tiny = Set1(1e-37f);
    Store(inverses, SelectLess(sum, tiny, Zero(), Div(Set1(1.0f), sum)));
    const F32 lse = Fma(LoadPart(tile.maxima + first, rows), Set1(kLn2), Log(sum));
    StorePart(lses + first, SelectLess(sum, tiny, Set1(kNoKeys), lse), rows);
    for (int r = 0; r < rows; ++r) {
      float* to = out(first + r);
      const F32 inverse = Set1(inverses[r]);
      for (int d = 0; d < tile.head_dim; d += 16) {
        const float* from = tile.outputs + tile.PanelOffset(d, first + r) + d % kPanel;
        Store(to + d, Add(Mul(Load(from), inverse), Zero()));
      }
    }
  }
}

inline void AttentionTile(const AttentionKernelArgs& args, const AttentionItem& item, int first_row, int rows,
                          int kv_head, int first_head, int num_heads, float* scratch) {
  const AttentionScratch at = LayOutAttentionScratch(args.head_dim, args.block_size, item.class_count);
  Tile tile;
  tile.rows = rows * num_heads;
  tile.head_dim = args.head_dim;
  tile.block_size = args.block_size;
  tile.window = args.window;
  tile.score_cap = args.score_cap;
  tile.queries = scratch + at.queries;
  tile.scores = scratch + at.scores;
  tile.outputs = scratch + at.outputs;
  tile.sums = scratch + at.sums;
  tile.maxima = scratch + at.maxima;
  tile.panel = scratch + at.panel;
  const F32 query_scale = Set1(args.score_cap > 0 ? args.query_scale : args.query_scale * kLog2E);
  const auto batch_row = [&](int j) { return static_cast<int64_t>(first_row + j / num_heads); };
  const auto head = [&](int j) { return first_head + j % num_heads; };
  for (int j = 0; j < tile.rows; ++j) {
    tile.positions[j] = item.first_position + (batch_row(j) - item.first_row);
    const float* query = args.queries + batch_row(j) * args.query_stride + head(j) * args.head_dim;
    for (int d = 0; d < args.head_dim; d += 16) {
      Store(tile.queries + tile.PanelOffset(d, j) + d % kPanel, Mul(Load(query + d), query_scale));
    }
  }
  const int64_t set_values = static_cast<int64_t>(tile.rows) * args.head_dim;
  float* results = scratch + at.results;
  float* lses = scratch + at.lses;
  for (int c = 0; c < item.class_count; ++c) {
    FoldClass(args, tile, args.classes[item.class_begin + c], kv_head);
    if (item.split < 0) {
      Normalize(
          tile, [&](int j) { return results + c * set_values + static_cast<int64_t>(j) * args.head_dim; },
          lses + c * tile.rows);
      continue;
    }
    const auto at_split = [&](int j) {
      return (static_cast<int64_t>(item.split) * args.split_rows + batch_row(j)) * args.heads + head(j);
    };
    Normalize(
        tile, [&](int j) { return args.split_out + at_split(j) * args.head_dim; }, lses);
    for (int j = 0; j < tile.rows; ++j) args.split_lse[at_split(j)] = lses[j];
  }
  if (item.split >= 0) return;
  const float* class_outs[kMaxParts];
  for (int c = 0; c < item.class_count; ++c) class_outs[c] = results + c * set_values;
  MergeWeights weights[kMaxParts - 1];
  for (int first = 0; first < tile.rows; first += 16) {
    const int lanes = tile.rows - first < 16 ? tile.rows - first : 16;
    const float* class_lses[kMaxParts];
    for (int c = 0; c < item.class_count; ++c) class_lses[c] = lses + c * tile.rows + first;
    float merged[16];
    Store(merged, MergeTree(class_lses, item.class_count, lanes, weights));
    for (int lane = 0; lane < lanes; ++lane) {
      const int j = first + lane;
      args.lse[batch_row(j) * args.lse_stride + head(j)] = merged[lane];
      MergeOutputs(class_outs, static_cast<int64_t>(j) * args.head_dim, item.class_count, args.head_dim,
                   weights, lane, args.out + batch_row(j) * args.out_stride + head(j) * args.head_dim);
    }
  }
}

inline void Attention(const AttentionKernelArgs& args, const AttentionItem& item, int kv_head,
                      float* scratch) {
  const int group = args.heads / args.kv_heads;
  const int heads_at_once = group < kMaxTileQueries ? group : kMaxTileQueries;
  const int rows_at_once = kMaxTileQueries / heads_at_once;
  for (int head = 0; head < group; head += heads_at_once) {
    const int heads = group - head < heads_at_once ? group - head : heads_at_once;
    for (int row = 0; row < item.rows; row += rows_at_once) {
      const int rows = item.rows - row < rows_at_once ? item.rows - row : rows_at_once;
      AttentionTile(args, item, item.first_row + row, rows, kv_head, kv_head * group + head, heads, scratch);
    }
  }
}

}  // namespace longspan::LONGSPAN_ISA
