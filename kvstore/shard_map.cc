#include "kvstore/shard_map.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/numerics.h"

namespace longspan {

int64_t CountBlocks(int64_t begin, int64_t end, int residue, int kvp) {
  // Numbers below n that are congruent to the residue.
  const auto below = [&](int64_t n) { return n <= residue ? 0 : (n - residue - 1) / kvp + 1; };
  return begin >= end ? 0 : below(end) - below(begin);
}

HeadRange HeadsOf(int tp_rank, int tp, int heads) {
  LONGSPAN_CHECK(heads % tp == 0 && tp_rank >= 0 && tp_rank < tp);
  const int each = heads / tp;
  return {tp_rank * each, (tp_rank + 1) * each};
}

bool CanSplitHeads(const AttentionShape& shape, int tp) {
  if (tp == 1) return true;
  return shape.kv_heads % tp == 0 && shape.heads % tp == 0 &&
         (static_cast<int64_t>(shape.heads / tp) * shape.head_dim) % kQuantGroup == 0;
}

std::vector<RankGrid> ValidGrids(const AttentionShape& shape, int ranks) {
  LONGSPAN_CHECK(ranks >= 1);
  std::vector<RankGrid> grids;
  for (int tp = std::min(ranks, std::max(1, shape.kv_heads)); tp >= 1; --tp) {
    if (ranks % tp == 0 && CanSplitHeads(shape, tp)) grids.push_back({tp, ranks / tp});
  }
  return grids;
}

RankGrid DefaultGrid(const AttentionShape& shape, int ranks) { return ValidGrids(shape, ranks).front(); }

}  // namespace longspan
