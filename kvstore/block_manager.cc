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

BlockManager::BlockManager(KvGeometry geometry) : reservations_(std::move(geometry)) {
  for (const int64_t pages : reservations_.geometry().pages_per_rank) allocators_.emplace_back(pages);
}

BlockTable BlockManager::Reserve(const KvNeed& need, int shift) {
  BlockTable table;
  table.shift_ = shift;
  table.groups_.resize(geometry().groups.size());
  table.first_live_blocks_.resize(geometry().groups.size(), 0);
  table.reserved_ = reservations_.Reserve(need, shift);
  table.in_use_.resize(table.reserved_.size(), 0);
  return table;
}

std::vector<BlockGrant> BlockManager::Extend(BlockTable& table, int64_t end_position) {
  LONGSPAN_CHECK(!table.groups_.empty() && end_position >= table.end_position_);
  std::vector<BlockGrant> grants;
  const int64_t end_block = BlocksFor(end_position, geometry().block_size);
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    BlockTable::Group& group = table.groups_[g];
    const int pages_per_block = geometry().groups[g].pages_per_block;
    for (; group.end_block < end_block; ++group.end_block) {
      const auto owner = static_cast<size_t>(BlockOwner(group.end_block, table.shift_, geometry().kvp));
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

std::vector<BlockGrant> BlockManager::ExtendAt(BlockTable& table, int64_t position) {
  LONGSPAN_CHECK(table.end_position_ == 0);
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    const int64_t first = FirstVisibleBlock(position, geometry().groups[g].window, geometry().block_size);
    table.groups_[g].end_block = table.first_live_blocks_[g] = first;
  }
  return Extend(table, position);
}

void BlockManager::Trim(BlockTable& table, int64_t next_position) {
  LONGSPAN_CHECK(next_position <= table.end_position_);
  for (size_t g = 0; g < table.groups_.size(); ++g) {
    ReleaseFront(table, g,
                 FirstVisibleBlock(next_position, geometry().groups[g].window, geometry().block_size));
  }
}

void BlockManager::Free(BlockTable& table) {
  for (size_t g = 0; g < table.groups_.size(); ++g) ReleaseFront(table, g, table.groups_[g].end_block);
  if (table.groups_.empty()) return;
  for (const int64_t pages : table.in_use_) LONGSPAN_CHECK(pages == 0);
  reservations_.Release(table.reserved_);
  table = BlockTable();
}

void BlockManager::ReleaseFront(BlockTable& table, size_t g, int64_t first_live_block) {
  BlockTable::Group& group = table.groups_[g];
  const int pages_per_block = geometry().groups[g].pages_per_block;
  int64_t& block = table.first_live_blocks_[g];
  for (; block < first_live_block; ++block) {
    LONGSPAN_CHECK(block < group.end_block);
    const auto owner = static_cast<size_t>(BlockOwner(block, table.shift_, geometry().kvp));
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
      const int64_t reached = table.end_position_ - block * geometry().block_size;
      const double fill = std::min(1.0, static_cast<double>(reached) / geometry().block_size);
      const bool is_here = BlockOwner(block, table.shift_, geometry().kvp) == kvp_rank;
      for (int i = 0; i < geometry().groups[g].pages_per_block; ++i, ++page) {
        if (is_here) function(*page, fill);
      }
    }
  }
}

}  // namespace longspan
