// The order of summation that makes results equal, bit for bit, on any layout of ranks.
//
// Sums that cross ranks are cut into kReductionWays parts that do not depend on the number of ranks, and the
// parts are added in a fixed binary tree. With 1, 2, 4 or 8 ranks each rank holds whole subtrees.
//   * Row-parallel products: leaf i covers groups [G*i/R, G*(i+1)/R) of the G groups of 32 inner columns;
//     leaves are contiguous and merge as neighbours ((0,1),(2,3)),((4,5),(6,7)).
//   * Attention: block i belongs to class i mod R; classes merge as ((0,4),(2,6)),((1,5),(3,7)), which is the
//     neighbour tree over the classes in bit-reversed order.
// The idea for tensor parallelism alone is published as TBIK (arXiv 2511.17826).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/dtype.h"

namespace longspan {

inline constexpr int kReductionWays = 8;
inline constexpr int kQuantGroup = 32;  // inner columns that share one activation scale

// Ways a sum is cut into for `ranks` ranks: kReductionWays when the ranks divide it, else one part a rank
// (results then depend on the number of ranks).
inline int ReductionWays(int ranks) { return kReductionWays % ranks == 0 ? kReductionWays : ranks; }

static inline int64_t NumQuantGroups(int64_t columns) { return (columns + kQuantGroup - 1) / kQuantGroup; }

// First group of leaf `leaf` of `ways`.
inline int64_t LeafBegin(int64_t groups, int leaf, int ways) { return groups * leaf / ways; }

// The class that is visited as number `i` of `ways`, so that merging neighbours gives the tree: bit-reversed
// for a power of two, ascending otherwise. Its own inverse.
int ClassAt(int i, int ways);

// Adds items that arrive one by one as a binary tree over neighbours, with a stack of depth log2(count).
// After item `index` (0-based) has been pushed, this many merges of the two topmost entries are due.
static inline int MergesDue(int index) {
  int merges = 0;
  for (int n = index + 1; n % 2 == 0; n /= 2) ++merges;
  return merges;
}

enum class ActivationDType : uint8_t { kAuto, kInt8, kBF16, kF32 };
enum class Isa : uint8_t { kAuto, kAvx512, kAvx2, kPortable };

std::string_view Name(ActivationDType dtype);
std::string_view Name(Isa isa);

// Everything that changes bits. Fixed for a deployment, part of its fingerprint.
struct Numerics {
  int block_size = 64;  // tokens a KV block
  DType kv_dtype = DType::kBF16;
  ActivationDType activation = ActivationDType::kAuto;
  Isa isa = Isa::kAuto;  // resolved before use
  int ways = kReductionWays;

  std::string ToString() const;
};

}  // namespace longspan
