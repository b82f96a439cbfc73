#include "kvstore/block_allocator.h"

#include <limits>

#include "kernels/check.h"

namespace longspan {

BlockAllocator::BlockAllocator(int64_t capacity) {
  LONGSPAN_CHECK(capacity >= 0 && capacity <= std::numeric_limits<int32_t>::max());
  allocated_.resize(static_cast<size_t>(capacity), false);
  free_.reserve(static_cast<size_t>(capacity));
  // The lowest number ends on top, so that a store that was never full touches its first pages only.
  for (int64_t page = capacity - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

int32_t BlockAllocator::Allocate() {
  LONGSPAN_CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  allocated_[static_cast<size_t>(page)] = true;
  return page;
}

void BlockAllocator::Free(int32_t page) {
  LONGSPAN_CHECK(page >= 0 && page < capacity());
  LONGSPAN_CHECK(allocated_[static_cast<size_t>(page)]);
  allocated_[static_cast<size_t>(page)] = false;
  free_.push_back(page);
}

}  // namespace longspan
