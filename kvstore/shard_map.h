// Which rank holds what: logical coordinates (block, KV head) to places in a grid of tp x kvp ranks.
//
// Rank r = t * kvp + k. Heads are split over tp in contiguous ranges; block i of a sequence lies on the kvp
// rank (i + shift) mod kvp. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace longspan {

struct RankGrid {
  int tp = 1;
  int kvp = 1;

  int ranks() const { return tp * kvp; }
  int Rank(int tp_rank, int kvp_rank) const { return tp_rank * kvp + kvp_rank; }
  int TpRank(int rank) const { return rank / kvp; }
  int KvpRank(int rank) const { return rank % kvp; }
  bool operator==(const RankGrid&) const = default;
};

inline int BlockOwner(int64_t block, int shift, int kvp) { return static_cast<int>((block + shift) % kvp); }

// A kvp rank holds the blocks that are congruent to this modulo kvp.
inline int BlockResidue(int kvp_rank, int shift, int kvp) { return (kvp_rank - shift % kvp + kvp) % kvp; }

// How many of the blocks [begin, end) have this residue.
int64_t CountBlocks(int64_t begin, int64_t end, int residue, int kvp);

// Heads [begin, end).
struct HeadRange {
  int begin = 0;
  int end = 0;
  bool operator==(const HeadRange&) const = default;
};

// What tp rank `tp_rank` of `tp` holds of `heads` heads; tp divides heads.
HeadRange HeadsOf(int tp_rank, int tp, int heads);

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
};

// Whether heads can be split `tp` ways: whole KV heads each, and head outputs that end on a group of
// kQuantGroup columns, because activations are quantised in such groups whatever the sharding.
bool CanSplitHeads(const AttentionShape& shape, int tp);

// All grids of `ranks` ranks that the shape allows, the widest tp first. Never empty: tp = 1 always works.
std::vector<RankGrid> ValidGrids(const AttentionShape& shape, int ranks);

// As much tp as the shape allows, the rest kvp.
RankGrid DefaultGrid(const AttentionShape& shape, int ranks);

}  // namespace longspan
