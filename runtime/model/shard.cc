#include "runtime/model/shard.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/numerics.h"

namespace longspan {
namespace {

constexpr int64_t kOutputUnit =
    16;  // outputs are dealt out in multiples of this, the width of a packed panel

// Part `index` of `parts` of [0, size), cut at multiples of kOutputUnit.
Range OutputPart(int64_t size, int index, int parts) {
  const int64_t units = (size + kOutputUnit - 1) / kOutputUnit;
  return {std::min(units * index / parts * kOutputUnit, size),
          std::min(units * (index + 1) / parts * kOutputUnit, size)};
}

LeafShare PlanLeaves(int64_t columns, int ways, int rank, int ranks) {
  const int64_t groups = NumQuantGroups(columns);
  const int first = ways * rank / ranks, last = ways * (rank + 1) / ranks;
  LeafShare share;
  const int64_t begin = LeafBegin(groups, first, ways);
  share.columns = {std::min(begin * kQuantGroup, columns),
                   std::min(LeafBegin(groups, last, ways) * kQuantGroup, columns)};
  for (int leaf = first; leaf < last; ++leaf)
    share.leaf_ends.push_back(LeafBegin(groups, leaf + 1, ways) - begin);
  return share;
}

}  // namespace

ShardPlan PlanShard(const ModelConfig& config, int tp, int kvp, int rank) {
  LONGSPAN_CHECK(config.num_kv_heads % tp == 0);
  ShardPlan plan;
  plan.tp = tp;
  plan.kvp = kvp;
  plan.rank = rank;
  plan.ways = ReductionWays(plan.ranks());
  plan.class_ways = ReductionWays(kvp);
  plan.heads = config.num_heads / tp;
  plan.kv_heads = config.num_kv_heads / tp;

  const int64_t inner = static_cast<int64_t>(config.num_heads) * config.head_dim;
  const int64_t shard_begin = inner / tp * plan.tp_rank();
  LONGSPAN_CHECK(tp == 1 || inner / tp % kQuantGroup == 0);
  for (int k = 0; k < kvp; ++k) {
    plan.qkv.push_back(OutputPart(plan.qkv_columns(config.head_dim), k, kvp));
    const LeafShare share = PlanLeaves(inner, plan.ways, plan.tp_rank() * kvp + k, plan.ranks());
    plan.attention.push_back({share.columns.begin - shard_begin, share.columns.end - shard_begin});
  }
  plan.output = PlanLeaves(inner, plan.ways, rank, plan.ranks());
  plan.down = PlanLeaves(config.ffn_size, plan.ways, rank, plan.ranks());
  for (int r = 0; r < plan.ranks(); ++r) plan.vocab.push_back(OutputPart(config.vocab_size, r, plan.ranks()));
  return plan;
}

}  // namespace longspan
