#include "kvstore/kv_geometry.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kvstore/shard_map.h"

namespace longspan {
namespace {

// Blocks that a layer group holds at most at a time. A step at position p reads from p - window + 1 on and
// writes up to p + chunk - 1.
int64_t MostLiveBlocks(int64_t window, int64_t total_tokens, int64_t chunk_tokens, int block_size) {
  const int64_t all = BlocksFor(total_tokens, block_size);
  if (window == 0) return all;
  const int64_t span = std::min(window - 1 + std::min(chunk_tokens, total_tokens), total_tokens);
  // A span that begins on the last token of a block touches one block more than a span that begins on the
  // first.
  return std::min(all, BlocksFor(span - 1, block_size) + 1);
}

}  // namespace

absl::Status KvGeometry::Validate() const {
  const auto invalid = [](auto... parts) {
    return absl::InvalidArgumentError(absl::StrCat("KV store: ", parts...));
  };
  if (block_size < 1) return invalid("a block of ", block_size, " tokens; use at least 1");
  if (kvp < 1) return invalid("a kvp width of ", kvp, "; use at least 1");
  if (groups.empty()) return invalid("no layer groups; a model has at least one");
  for (const KvGroupGeometry& group : groups) {
    if (group.window < 0) return invalid("a window of ", group.window, " tokens; use 0 for none");
    if (group.pages_per_block < 1) return invalid(group.pages_per_block, " pages a block; use at least 1");
  }
  if (pages_per_rank.size() != static_cast<size_t>(kvp)) {
    return invalid("capacities of ", pages_per_rank.size(), " ranks for a kvp width of ", kvp);
  }
  for (const int64_t pages : pages_per_rank) {
    if (pages < 0 || pages > std::numeric_limits<int32_t>::max()) {
      return invalid("a rank with ", pages, " pages; use 0 to ", std::numeric_limits<int32_t>::max(),
                     ", with larger blocks if memory is larger than that");
    }
  }
  return absl::OkStatus();
}

std::vector<int64_t> KvDemand(const KvGeometry& geometry, const KvNeed& need, int shift) {
  const auto [total_tokens, chunk_tokens] = need;
  LONGSPAN_CHECK(total_tokens >= 1 && chunk_tokens >= 1 && shift >= 0);
  const int kvp = geometry.kvp;
  const int64_t all = BlocksFor(total_tokens, geometry.block_size);
  std::vector<int64_t> demand(static_cast<size_t>(kvp), 0);
  for (const KvGroupGeometry& group : geometry.groups) {
    const int64_t live = MostLiveBlocks(group.window, total_tokens, chunk_tokens, geometry.block_size);
    // The live blocks are a window that slides over all blocks; which rank holds how many of them repeats
    // after kvp places.
    const int64_t last_begin = std::min<int64_t>(all - live, kvp - 1);
    for (int k = 0; k < kvp; ++k) {
      const int residue = BlockResidue(k, shift, kvp);
      int64_t most = 0;
      for (int64_t begin = 0; begin <= last_begin; ++begin) {
        most = std::max(most, CountBlocks(begin, begin + live, residue, kvp));
      }
      demand[static_cast<size_t>(k)] += most * group.pages_per_block;
    }
  }
  return demand;
}

}  // namespace longspan
