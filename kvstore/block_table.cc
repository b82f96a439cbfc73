#include "kvstore/block_table.h"

namespace longspan {

std::vector<int64_t> BlockTable::first_live_blocks() const {
  std::vector<int64_t> blocks;
  blocks.reserve(groups_.size());
  for (const Group& group : groups_) blocks.push_back(group.first_live_block);
  return blocks;
}

}  // namespace longspan
