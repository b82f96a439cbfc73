#include "kvstore/block_manager.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "kvstore/shard_map.h"

namespace longspan {

absl::StatusOr<std::unique_ptr<BlockManager>> BlockManager::Create(KvGeometry geometry) {
  LONGSPAN_RETURN_IF_ERROR(geometry.Validate());
  return std::unique_ptr<BlockManager>(new BlockManager(std::move(geometry)));
}

BlockManager::BlockManager(KvGeometry geometry)
    : geometry_(std::move(geometry)), reserved_(geometry_.pages_per_rank.size(), 0) {
  for (const int64_t pages : geometry_.pages_per_rank) allocators_.emplace_back(pages);
}

int BlockManager::ChooseShift(int64_t total_tokens, int64_t chunk_tokens) const {
  int best_shift = 0;
  std::vector<int64_t> best;
  for (int shift = 0; shift < geometry_.kvp; ++shift) {
    std::vector<int64_t> left = KvDemand(geometry_, total_tokens, chunk_tokens, shift);
    for (size_t k = 0; k < left.size(); ++k) left[k] = geometry_.pages_per_rank[k] - reserved_[k] - left[k];
    std::sort(left.begin(), left.end());
    if (best.empty() || left > best) {
      best = std::move(left);
      best_shift = shift;
    }
  }
  return best_shift;
}

bool BlockManager::CanReserve(int64_t total_tokens, int64_t chunk_tokens, int shift) const {
  const std::vector<int64_t> demand = KvDemand(geometry_, total_tokens, chunk_tokens, shift);
  for (size_t k = 0; k < demand.size(); ++k) {
    if (demand[k] > geometry_.pages_per_rank[k] - reserved_[k]) return false;
  }
  return true;
}

BlockTable BlockManager::Reserve(int64_t total_tokens, int64_t chunk_tokens, int shift) {
  LONGSPAN_CHECK(shift >= 0 && shift < geometry_.kvp);
  BlockTable table;
  table.shift_ = shift;
  table.groups_.resize(geometry_.groups.size());
  table.first_live_blocks_.resize(geometry_.groups.size(), 0);
  table.reserved_ = KvDemand(geometry_, total_tokens, chunk_tokens, shift);
  table.in_use_.resize(table.reserved_.size(), 0);
  for (size_t k = 0; k < reserved_.size(); ++k) {
    reserved_[k] += table.reserved_[k];
    LONGSPAN_CHECK(reserved_[k] <= geometry_.pages_per_rank[k]);
  }
  return table;
}

std::vector<BlockGrant> BlockManager::Extend(BlockTable& table, int64_t end_position) {
  LONGSPAN_CHECK(!table.groups_.empty() && end_position >= table.end_position_);
  std::vector<BlockGrant> grants;
  const int64_t end_block = BlocksFor(end_position, geometry_.block_size);
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    BlockTable::Group& group = table.groups_[g];
    const int pages_per_block = geometry_.groups[g].pages_per_block;
    for (; group.end_block < end_block; ++group.end_block) {
      const auto owner = static_cast<size_t>(BlockOwner(group.end_block, table.shift_, geometry_.kvp));
      table.in_use_[owner] += pages_per_block;
      LONGSPAN_CHECK(table.in_use_[owner] <= table.reserved_[owner]);
      BlockGrant& grant = grants.emplace_back();
      grant.layer_group = static_cast<int32_t>(g);
      grant.block_index = group.end_block;
      grant.pages.reserve(static_cast<size_t>(pages_per_block));
      for (int page = 0; page < pages_per_block; ++page) grant.pages.push_back(allocators_[owner].Allocate());
      group.pages.insert(group.pages.end(), grant.pages.begin(), grant.pages.end());
    }
  }
  table.end_position_ = end_position;
  return grants;
}

void BlockManager::Trim(BlockTable& table, int64_t next_position) {
  LONGSPAN_CHECK(next_position <= table.end_position_);
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    ReleaseFront(table, g,
                 FirstVisibleBlock(next_position, geometry_.groups[g].window, geometry_.block_size));
  }
}

void BlockManager::Free(BlockTable& table) {
  for (size_t g = 0; g < table.groups_.size(); ++g) ReleaseFront(table, g, table.groups_[g].end_block);
  for (size_t k = 0; k < table.reserved_.size(); ++k) {
    LONGSPAN_CHECK(table.in_use_[k] == 0);
    reserved_[k] -= table.reserved_[k];
    LONGSPAN_CHECK(reserved_[k] >= in_use(static_cast<int>(k)));
  }
  table = BlockTable();
}

void BlockManager::ReleaseFront(BlockTable& table, size_t g, int64_t first_live_block) {
  BlockTable::Group& group = table.groups_[g];
  const int pages_per_block = geometry_.groups[g].pages_per_block;
  int64_t& block = table.first_live_blocks_[g];
  for (; block < first_live_block; ++block) {
    LONGSPAN_CHECK(block < group.end_block);
    const auto owner = static_cast<size_t>(BlockOwner(block, table.shift_, geometry_.kvp));
    for (int page = 0; page < pages_per_block; ++page) {
      allocators_[owner].Free(group.pages.front());
      group.pages.pop_front();
    }
    table.in_use_[owner] -= pages_per_block;
  }
}

void BlockManager::ForEachPage(const BlockTable& table, int kvp_rank,
                               const std::function<void(int32_t, double)>& function) const {
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    auto page = table.groups_[g].pages.begin();
    for (int64_t block = table.first_live_blocks_[g]; block < table.groups_[g].end_block; ++block) {
      const int64_t reached = table.end_position_ - block * geometry_.block_size;
      const double fill = std::min(1.0, static_cast<double>(reached) / geometry_.block_size);
      const bool is_here = BlockOwner(block, table.shift_, geometry_.kvp) == kvp_rank;
      for (int i = 0; i < geometry_.groups[g].pages_per_block; ++i, ++page) {
        if (is_here) function(*page, fill);
      }
    }
  }
}

int64_t BlockManager::LargestContext(int64_t chunk_tokens, int64_t at_most) const {
  // The demand never falls with the length, so the lengths that fit are those up to the answer.
  int64_t fits = 0;
  int64_t above = at_most + 1;
  while (above - fits > 1) {
    const int64_t middle = fits + (above - fits) / 2;
    (FitsEmpty(middle, chunk_tokens) ? fits : above) = middle;
  }
  return fits;
}

bool BlockManager::FitsEmpty(int64_t total_tokens, int64_t chunk_tokens) const {
  for (int shift = 0; shift < geometry_.kvp; ++shift) {
    const std::vector<int64_t> demand = KvDemand(geometry_, total_tokens, chunk_tokens, shift);
    if (std::equal(demand.begin(), demand.end(), geometry_.pages_per_rank.begin(), std::less_equal<>())) {
      return true;
    }
  }
  return false;
}

int64_t BlockManager::headroom() const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (size_t k = 0; k < reserved_.size(); ++k) {
    least = std::min(least, geometry_.pages_per_rank[k] - reserved_[k]);
  }
  return least;
}

}  // namespace longspan
