// Which part of a model one rank of a group holds. Pure functions of the configuration and the grid.
//
// Rank r = t * kvp + k. Every matrix is split over all N = tp * kvp ranks: nothing is held twice but norm
// weights.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "runtime/model/model_config.h"

namespace longspan {

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Columns of a row-parallel product that one rank sums, and its leaves (numerics.h).
struct LeafShare {
  Range columns;                   // of the whole inner dimension
  std::vector<int64_t> leaf_ends;  // in groups of 32 from columns.begin
};

struct ShardPlan {
  int tp = 1, kvp = 1, rank = 0;
  int ways = 1;        // leaves of row-parallel products
  int class_ways = 1;  // classes of KV blocks
  int heads = 0;       // query heads of this rank's tp shard
  int kv_heads = 0;    // KV heads of this rank's tp shard

  // The tp shard's queries, keys and values side by side: (heads + 2 kv_heads) * head_dim columns, of which
  // each kvp rank computes one range.
  std::vector<Range> qkv;  // [kvp]
  // The tp shard's head outputs, of which each kvp rank merges and projects one slice.
  std::vector<HeadSlice> attention;  // [kvp]
  LeafShare output;                  // columns of the output projection: this rank's slice of the heads
  LeafShare down;            // columns of the FFN's down projection, = rows of its gate and up projections
  std::vector<Range> vocab;  // [tp * kvp] rows of embedding and output matrix

  int ranks() const { return tp * kvp; }
  int tp_rank() const { return rank / kvp; }
  int kvp_rank() const { return rank % kvp; }
  int64_t qkv_columns(int head_dim) const { return static_cast<int64_t>(heads + 2 * kv_heads) * head_dim; }
};

// tp must divide the KV heads and leave heads * head_dim / tp a multiple of 32 (CHECK; see
// kvstore/shard_map.h).
ShardPlan PlanShard(const ModelConfig& config, int tp, int kvp, int rank);

}  // namespace longspan
