// The shape of a group's KV store, and how much of it a sequence can ever need.
//
// Every layer group has a block table of its own from the start. A group of full attention keeps all blocks;
// a group with a sliding window gives back the blocks that no coming position can see. All groups draw on one
// pool of equal pages on each kvp rank: a block of layer group g is pages_per_block of g's pages.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace longspan {

struct KvGroupGeometry {
  int64_t window = 0;  // a token sees the last `window` positions, its own included; 0 = all
  int pages_per_block = 1;
};

struct KvGeometry {
  int block_size = 64;                  // tokens
  int kvp = 1;                          // ranks among which the blocks of a sequence are dealt out
  std::vector<KvGroupGeometry> groups;  // [layer groups]
  std::vector<int64_t> pages_per_rank;  // [kvp], capacity

  // InvalidArgument names the value that no store can have.
  absl::Status Validate() const;
};

// Blocks [begin, end).
struct BlockRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// The first block that a token at `position`, or after it, can see.
inline int64_t FirstVisibleBlock(int64_t position, int64_t window, int block_size) {
  if (window == 0 || position < window) return 0;
  return (position - window + 1) / block_size;
}

inline int64_t BlocksFor(int64_t tokens, int block_size) { return (tokens + block_size - 1) / block_size; }

// What a sequence may grow to, and how many tokens of it one step may bring.
struct KvNeed {
  int64_t total_tokens = 0;
  int64_t chunk_tokens = 0;
};

// Pages on each kvp rank that a sequence can hold at the same moment, at most: the reservation that makes
// running out of memory impossible. Exact for each layer group and rank (some division into steps needs as
// much); layer groups are added as if they peaked together. Never falls when total_tokens grows.
std::vector<int64_t> KvDemand(const KvGeometry& geometry, const KvNeed& need, int shift);

}  // namespace longspan
