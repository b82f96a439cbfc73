// Merging of attention partials, one source for every instruction set.
//
// A partial is a normalised output and its log-sum-exp over some keys. Merging is elementwise over rows and
// heads, sixteen of them at a time, so that what stands in the other lanes leaves a result's bits alone.
#pragma once

#include "kernels/cpu/elementwise.inc.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr float kNoKeys = -__builtin_inff();  // log-sum-exp of no keys

// What one merge multiplies its two sides with, in sixteen lanes.
struct MergeWeights {
  float left[16], right[16];
};

// Returns the merged log-sum-exp. A side without keys has weight 0, the other then exactly 1.
inline F32 MergeLse(F32 a, F32 b, MergeWeights& weights) {
  const F32 lowest = Set1(-3.402823466e38f), one = Set1(1.0f);
  const F32 top = Max(a, b);  // b where either is NaN
  const F32 wa = Exp(Sub(a, top)), wb = Exp(Sub(b, top));
  const F32 sum = Add(wa, wb), merged = Add(top, Log(sum));
  const auto select = [&](F32 both, F32 only_a, F32 only_b) {
    return SelectLess(b, lowest, only_a, SelectLess(a, lowest, only_b, both));
  };
  Store(weights.left, select(Div(wa, sum), one, Zero()));
  Store(weights.right, select(Div(wb, sum), Zero(), one));
  return select(merged, a, b);
}

// Merges in the order of a binary tree over neighbours (numerics.h, MergesDue). lses[p]: `lanes` values, at
// most 16. `weights`: count - 1, in the order of the merges. Returns the merged log-sum-exp.
inline F32 MergeTree(const float* const* lses, int count, int lanes, MergeWeights* weights) {
  F32 stack[8];
  int depth = 0;
  const auto merge_top = [&] {
    stack[depth - 2] = MergeLse(stack[depth - 2], stack[depth - 1], *weights++);
    --depth;
  };
  for (int p = 0; p < count; ++p) {
    stack[depth++] = LoadPart(lses[p], lanes);
    for (int due = MergesDue(p); due > 0; --due) merge_top();
  }
  while (depth > 1) merge_top();
  return stack[0];
}

// The outputs of one lane: out[i] from outs[p][offset + i].
inline void MergeOutputs(const float* const* outs, int64_t offset, int count, int64_t width,
                         const MergeWeights* weights, int lane, float* out) {
  for (int64_t i = 0; i < width; i += 16) {
    F32 stack[8];
    int depth = 0;
    const MergeWeights* next = weights;
    const auto merge_top = [&] {
      const F32 right = Mul(stack[depth - 1], Set1(next->right[lane]));
      stack[depth - 2] = Fma(stack[depth - 2], Set1(next->left[lane]), right);
      ++next;
      --depth;
    };
    for (int p = 0; p < count; ++p) {
      stack[depth++] = LoadPart(outs[p] + offset + i, width - i);
      for (int due = MergesDue(p); due > 0; --due) merge_top();
    }
    while (depth > 1) merge_top();
    StorePart(out + i, stack[0], width - i);
  }
}

inline void Merge(const MergeArgs& args) {
  MergeWeights weights[kMaxParts - 1];
  for (int first = 0; first < args.heads; first += 16) {
    const int heads = args.heads - first < 16 ? args.heads - first : 16;
    const float* lses[kMaxParts];
    for (int p = 0; p < args.count; ++p) lses[p] = args.lses[p] + first;
    const F32 lse = MergeTree(lses, args.count, heads, weights);
    if (args.lse != nullptr) StorePart(args.lse + first, lse, heads);
    for (int lane = 0; lane < heads; ++lane) {
      const int64_t head_begin = static_cast<int64_t>(first + lane) * args.head_dim - args.first_column;
      const int64_t head_end = head_begin + args.head_dim;
      const int64_t begin = head_begin > 0 ? head_begin : 0;
      const int64_t end = head_end < args.width ? head_end : args.width;
      MergeOutputs(args.outs, begin, args.count, end - begin, weights, lane, args.out + begin);
    }
  }
}

}  // namespace longspan::LONGSPAN_ISA
