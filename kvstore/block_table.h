// Where the KV of one sequence lies: a table of blocks for each layer group.
//
// A plain value of page numbers, one table for each running sequence, on rank 0. Only BlockManager changes
// it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace longspan {

// A block that a sequence gains. It lies on kvp rank (block_index + shift) mod kvp.
struct BlockGrant {
  int32_t layer_group = 0;
  int64_t block_index = 0;
  std::vector<int32_t> pages;  // [pages_per_block of the layer group], numbers on the owning rank
};

class BlockTable {
 public:
  // s in "block i lies on kvp rank (i + s) mod kvp".
  int shift() const { return shift_; }
  // Every position before this one has a block, or had one that was given back.
  int64_t end_position() const { return end_position_; }
  // [layer groups]: blocks before it were given back.
  const std::vector<int64_t>& first_live_blocks() const { return first_live_blocks_; }
  // [kvp], pages.
  const std::vector<int64_t>& reserved() const { return reserved_; }
  const std::vector<int64_t>& in_use() const { return in_use_; }

 private:
  friend class BlockManager;

  struct Group {
    int64_t end_block = 0;
    std::deque<int32_t> pages;  // [end_block - first live block, pages_per_block]
  };

  int shift_ = 0;
  int64_t end_position_ = 0;
  std::vector<Group> groups_;               // [layer groups]; empty: nothing is reserved
  std::vector<int64_t> first_live_blocks_;  // [layer groups]
  std::vector<int64_t> reserved_;
  std::vector<int64_t> in_use_;
};

}  // namespace longspan
