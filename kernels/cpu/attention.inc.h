// Attention of a tile of query rows over paged KV blocks, one source for every instruction set.
//
// For each query row: a class's blocks fold in order of position by online softmax (arXiv 1805.02867), each
// block as a whole; the class becomes a normalised output and a log-sum-exp; classes merge in a fixed tree.
// No step depends on the other rows of a tile, so tiling, chunking and sharding leave the bits alone. A
// position that a row may not see contributes an exact zero; adding it can only change the sign of a zero,
// which Normalize removes.
#pragma once

#include "kernels/cpu/elementwise.inc.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr float kLowest = -1e30f;  // below every score: exp(x - kLowest) of a masked x is 0, never NaN
inline constexpr float kMasked = -__builtin_inff();

// ln x for x > 0, in double with basic operations only, so that every machine agrees.
inline float LogScalar(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  bits = (bits & 0x7fffffu) | 0x3f800000u;
  float mantissa;
  __builtin_memcpy(&mantissa, &bits, sizeof bits);
  const double s = (static_cast<double>(mantissa) - 1.0) / (static_cast<double>(mantissa) + 1.0);
  const double s2 = s * s;
  double series = 0;
  for (int k = 19; k >= 1; k -= 2) series = series * s2 + 1.0 / k;
  return static_cast<float>(2.0 * s * series + exponent * 0.693147180559945309417);
}

// One merge of normalised partials. A side without keys (lse = -inf) leaves the other exactly as it is.
inline float MergeInto(float* a, float a_lse, const float* b, float b_lse, int64_t width) {
  if (b_lse == kMasked) return a_lse;
  if (a_lse == kMasked) {
    for (int64_t i = 0; i < width; ++i) a[i] = b[i];
    return b_lse;
  }
  const float top = a_lse > b_lse ? a_lse : b_lse;
  const float wa = ExpScalar(a_lse - top), wb = ExpScalar(b_lse - top);
  const float sum = wa + wb;
  const F32 fa = Set1(wa / sum), fb = Set1(wb / sum);
  for (int64_t i = 0; i < width; i += 16) {
    const F32 merged = Fma(LoadPart(a + i, width - i), fa, Mul(LoadPart(b + i, width - i), fb));
    StorePart(a + i, merged, width - i);
  }
  return top + LogScalar(sum);
}

inline constexpr int64_t kMergeWidth = 64;  // columns merged at a time, so that the tree's stack stays small

inline float Merge(const float* const* outs, const float* lses, int count, int64_t width, float* out) {
  float lse = kMasked;
  for (int64_t begin = 0; begin < width || begin == 0; begin += kMergeWidth) {
    const int64_t w = width - begin < kMergeWidth ? width - begin : kMergeWidth;
    float values[8][kMergeWidth];
    float stack_lse[8];
    int depth = 0;
    const auto merge_top = [&] {
      --depth;
      stack_lse[depth - 1] =
          MergeInto(values[depth - 1], stack_lse[depth - 1], values[depth], stack_lse[depth], w);
    };
    for (int p = 0; p < count; ++p) {
      for (int64_t i = 0; i < w; ++i) values[depth][i] = outs[p][begin + i];
      stack_lse[depth++] = lses[p];
      for (int due = MergesDue(p); due > 0; --due) merge_top();
    }
    while (depth > 1) merge_top();
    for (int64_t i = 0; i < w; ++i) out[begin + i] = values[0][i];
    lse = stack_lse[0];
  }
  return lse;
}

// The state of a set of query rows that share one KV head while one class folds. Row j of the set is query
// head j % group of batch row j / group.
struct RowState {
  int rows;
  int head_dim;
  int block_size;
  float query_scale;
  float score_cap;              // 0 = none
  const float* const* queries;  // [rows] → [head_dim]
  const int64_t* positions;     // [rows]
  float* maxima;                // [rows]
  float* sums;                  // [rows]
  float* outputs;               // [rows, head_dim]
  float* scores;                // [4, block_size]
};

struct F32Piece {
  const float* p;
  // K [head_dim][block_size]: dimensions d and d + 1 of tokens [t, t + 16)
  void LoadK(int d, int t, int block_size, F32& even, F32& odd) const {
    even = Load(p + d * block_size + t);
    odd = Load(p + (d + 1) * block_size + t);
  }
  // V [block_size][head_dim]: tokens t and t + 1, dimensions [d, d + 16)
  void LoadV(int t, int d, int head_dim, int block_size, F32& even, F32& odd) const {
    const float* v = p + static_cast<int64_t>(head_dim) * block_size + t * head_dim + d;
    even = Load(v);
    odd = Load(v + head_dim);
  }
};

struct Bf16Piece {
  const uint16_t* p;
  void LoadK(int d, int t, int block_size, F32& even, F32& odd) const {
    LoadBf16Pairs(p + d * block_size + 2 * t, even, odd);
  }
  void LoadV(int t, int d, int head_dim, int block_size, F32& even, F32& odd) const {
    LoadBf16Pairs(p + static_cast<int64_t>(head_dim) * block_size + t * head_dim + 2 * d, even, odd);
  }
};

template <int kRows, int kVectors, typename Piece>
inline void Scores(const RowState& state, int row, const Piece& piece, int t) {
  F32 sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sums[r][i] = Zero();
  }
  for (int d = 0; d < state.head_dim; d += 2) {
    F32 even[kVectors], odd[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) piece.LoadK(d, t + 16 * i, state.block_size, even[i], odd[i]);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const F32 q = Set1(state.queries[row + r][d]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(q, even[i], sums[r][i]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const F32 q = Set1(state.queries[row + r][d + 1]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(q, odd[i], sums[r][i]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      Store(state.scores + r * state.block_size + t + 16 * i, Mul(sums[r][i], Set1(state.query_scale)));
    }
  }
}

// cap * tanh(score / cap) of the scores of one row; they come scaled.
inline void CapScores(float* scores, int count, float cap) {
  const F32 inverse = Set1(1.0f / cap);
  for (int t = 0; t < count; t += 16) Store(scores + t, Mul(Tanh(Mul(Load(scores + t), inverse)), Set1(cap)));
}

// Turns the scores of one row into weights, and rescales what the row has so far when its maximum grows.
// Tokens [begin, end) of the block are visible.
inline void Softmax(const RowState& state, int row, float* scores, int begin, int end) {
  F32 largest = Set1(kMasked);
  for (int t = 0; t < state.block_size; t += 16) {
    const int from = begin > t ? (begin - t < 16 ? begin - t : 16) : 0;
    const int to = end < t + 16 ? (end > t ? end - t : 0) : 16;
    const F32 s = KeepLanes(Load(scores + t), from, to > from ? to : from, kMasked);
    Store(scores + t, s);
    largest = Max(largest, s);
  }
  const float old_maximum = state.maxima[row];
  const float block_maximum = ReduceMax(largest);
  const float maximum = block_maximum > old_maximum ? block_maximum : old_maximum;
  F32 sum = Zero();
  for (int t = 0; t < state.block_size; t += 16) {
    const F32 p = Exp(Sub(Load(scores + t), Set1(maximum)));
    Store(scores + t, p);
    sum = Add(sum, p);
  }
  if (maximum != old_maximum) {
    const float factor = ExpScalar(old_maximum - maximum);
    state.sums[row] *= factor;
    float* out = state.outputs + static_cast<int64_t>(row) * state.head_dim;
    for (int d = 0; d < state.head_dim; d += 16) Store(out + d, Mul(Load(out + d), Set1(factor)));
    state.maxima[row] = maximum;
  }
  state.sums[row] += ReduceAdd(sum);
}

template <int kRows, int kVectors, typename Piece>
inline void Accumulate(const RowState& state, int row, const Piece& piece, int d, int begin, int end) {
  F32 sums[kRows][kVectors];
  float* out = state.outputs + static_cast<int64_t>(row) * state.head_dim + d;
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sums[r][i] = Load(out + r * state.head_dim + 16 * i);
  }
  for (int t = begin & ~1; t < end; t += 2) {
    F32 even[kVectors], odd[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      piece.LoadV(t, d + 16 * i, state.head_dim, state.block_size, even[i], odd[i]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const F32 p = Set1(state.scores[r * state.block_size + t]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(p, even[i], sums[r][i]);
    }
    if (t + 1 == end) break;  // what follows was never written and may be anything, a NaN too
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const F32 p = Set1(state.scores[r * state.block_size + t + 1]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(p, odd[i], sums[r][i]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) Store(out + r * state.head_dim + 16 * i, sums[r][i]);
  }
}

// Folds one block into rows [row, row + kRows).
template <int kRows, typename Piece>
inline void FoldRows(const RowState& state, int row, const Piece& piece, int64_t first_token,
                     int64_t window) {
  int begin = state.block_size, end = 0;  // tokens that any of these rows sees
  int row_begin[kRows], row_end[kRows];
  for (int r = 0; r < kRows; ++r) {
    const int64_t last = state.positions[row + r] - first_token + 1;
    row_end[r] = static_cast<int>(last < 0 ? 0 : last < state.block_size ? last : state.block_size);
    const int64_t oldest = window > 0 ? state.positions[row + r] - window + 1 - first_token : 0;
    row_begin[r] = static_cast<int>(oldest < 0 ? 0 : oldest < state.block_size ? oldest : state.block_size);
    if (row_begin[r] >= row_end[r]) row_begin[r] = row_end[r] = 0;
    if (row_end[r] == 0) continue;
    begin = row_begin[r] < begin ? row_begin[r] : begin;
    end = row_end[r] > end ? row_end[r] : end;
  }
  if (begin >= end) return;
  int t = 0;
  for (; t + 64 <= state.block_size; t += 64) Scores<kRows, 4>(state, row, piece, t);
  for (; t < state.block_size; t += 16) Scores<kRows, 1>(state, row, piece, t);
  for (int r = 0; r < kRows; ++r) {
    float* scores = state.scores + r * state.block_size;
    if (state.score_cap > 0) CapScores(scores, state.block_size, state.score_cap);
    Softmax(state, row + r, scores, row_begin[r], row_end[r]);
  }
  int d = 0;
  for (; d + 64 <= state.head_dim; d += 64) Accumulate<kRows, 4>(state, row, piece, d, begin, end);
  for (; d < state.head_dim; d += 16) Accumulate<kRows, 1>(state, row, piece, d, begin, end);
}

template <typename Piece>
inline void FoldBlock(const RowState& state, const Piece& piece, int64_t first_token, int64_t window) {
  int row = 0;
  for (; row + 4 <= state.rows; row += 4) FoldRows<4>(state, row, piece, first_token, window);
  if (state.rows - row >= 2) {
    FoldRows<2>(state, row, piece, first_token, window);
    row += 2;
  }
  if (row < state.rows) FoldRows<1>(state, row, piece, first_token, window);
}

// The class's result: outputs divided by the sum, -0 made +0; returns the log-sum-exp. The sum is zero when
// no key was seen; when it is NaN the outputs are too and must reach the merged result.
inline float Normalize(const RowState& state, int row, float* out) {
  const float sum = state.sums[row];
  const F32 inverse = Set1(sum == 0 ? 0.0f : 1.0f / sum);
  const float* o = state.outputs + static_cast<int64_t>(row) * state.head_dim;
  for (int d = 0; d < state.head_dim; d += 16) Store(out + d, Add(Mul(Load(o + d), inverse), Zero()));
  return sum == 0 ? kMasked : state.maxima[row] + LogScalar(sum);
}

inline void FoldClass(const AttentionKernelArgs& args, const RowState& state, const AttentionClass& blocks,
                      int kv_head) {
  for (int r = 0; r < state.rows; ++r) {
    state.maxima[r] = kLowest;
    state.sums[r] = 0;
  }
  const int64_t values = static_cast<int64_t>(state.rows) * state.head_dim;
  for (int64_t i = 0; i < values; i += 16) Store(state.outputs + i, Zero());
  for (int32_t b = blocks.begin; b < blocks.end; ++b) {
    const int64_t page = args.pages[static_cast<int64_t>(b) * args.pages_per_block + args.page_column];
    const std::byte* piece = args.kv_base + static_cast<size_t>(page) * args.page_bytes +
                             static_cast<size_t>(kv_head) * args.piece_bytes;
    const int64_t first_token = args.blocks[b] * args.block_size;
    if (args.kv_is_f32) {
      FoldBlock(state, F32Piece{reinterpret_cast<const float*>(piece)}, first_token, args.window);
    } else {
      FoldBlock(state, Bf16Piece{reinterpret_cast<const uint16_t*>(piece)}, first_token, args.window);
    }
  }
}

inline void AttentionTile(const AttentionKernelArgs& args, const AttentionItem& item, int first_row, int rows,
                          int kv_head, int first_head, int num_heads, float* scratch) {
  const float* queries[kMaxTileQueries];
  int64_t positions[kMaxTileQueries];
  float maxima[kMaxTileQueries], sums[kMaxTileQueries];
  RowState state;
  state.rows = rows * num_heads;
  state.head_dim = args.head_dim;
  state.block_size = args.block_size;
  state.query_scale = args.query_scale;
  state.score_cap = args.score_cap;
  state.queries = queries;
  state.positions = positions;
  state.maxima = maxima;
  state.sums = sums;
  state.scores = scratch;
  state.outputs = scratch + 4 * args.block_size;
  const int64_t set_values = static_cast<int64_t>(state.rows) * args.head_dim;
  float* results = state.outputs + set_values;  // [classes][rows of the set, head_dim]
  for (int j = 0; j < state.rows; ++j) {
    const int64_t row = first_row + j / num_heads;
    queries[j] = args.queries + row * args.query_stride + (first_head + j % num_heads) * args.head_dim;
    positions[j] = item.first_position + (row - item.first_row);
  }
  float class_lse[kMaxParts][kMaxTileQueries];
  for (int c = 0; c < item.class_count; ++c) {
    FoldClass(args, state, args.classes[item.class_begin + c], kv_head);
    for (int j = 0; j < state.rows; ++j) {
      const int64_t row = first_row + j / num_heads;
      const int head = first_head + j % num_heads;
      if (item.split >= 0) {
        const int64_t at = (static_cast<int64_t>(item.split) * args.split_rows + row) * args.heads + head;
        args.split_lse[at] = Normalize(state, j, args.split_out + at * args.head_dim);
      } else {
        class_lse[c][j] =
            Normalize(state, j, results + c * set_values + static_cast<int64_t>(j) * args.head_dim);
      }
    }
  }
  if (item.split >= 0) return;
  for (int j = 0; j < state.rows; ++j) {
    const float* outs[kMaxParts];
    float lses[kMaxParts];
    for (int c = 0; c < item.class_count; ++c) {
      outs[c] = results + c * set_values + static_cast<int64_t>(j) * args.head_dim;
      lses[c] = class_lse[c][j];
    }
    const int64_t row = first_row + j / num_heads;
    const int head = first_head + j % num_heads;
    args.lse[row * args.lse_stride + head] = Merge(outs, lses, item.class_count, args.head_dim,
                                                   args.out + row * args.out_stride + head * args.head_dim);
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
