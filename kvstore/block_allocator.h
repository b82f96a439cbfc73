// Hands out the pages of one kvp rank. Knows numbers only, never bytes.
//
// Ranks that differ in tp alone hold the same pages, so there is one allocator for each kvp rank, on rank 0.
// Pages freed last are handed out first: they are the likeliest to be in a cache still.
// Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace longspan {

class BlockAllocator {
 public:
  // Pages 0 to capacity - 1, all free. capacity is at most the largest int32.
  explicit BlockAllocator(int64_t capacity);

  int64_t capacity() const { return static_cast<int64_t>(allocated_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t in_use() const { return capacity() - num_free(); }

  // A page that nobody holds. Running out is a bug: callers reserve first.
  int32_t Allocate();
  // Takes back a page that Allocate gave. Freeing one twice is a bug.
  void Free(int32_t page);

 private:
  std::vector<int32_t> free_;    // a stack
  std::vector<bool> allocated_;  // [capacity]
};

}  // namespace longspan
