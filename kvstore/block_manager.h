// The KV store of a group as rank 0 sees it: who was promised how much, and who holds which pages.
//
// A sequence first reserves all it can ever hold, on every kvp rank, and then takes blocks out of its
// reservation as it grows. On every rank, at every moment: in use <= reserved <= capacity, for each sequence
// and in all. All numbers are pages. Breaking a promise (growing beyond the reservation, freeing twice) is a
// bug, never an error: whoever admits asks reservations() first. Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/block_allocator.h"
#include "kvstore/block_table.h"
#include "kvstore/kv_geometry.h"
#include "kvstore/reservations.h"

namespace longspan {

class BlockManager {
 public:
  static absl::StatusOr<std::unique_ptr<BlockManager>> Create(KvGeometry geometry);

  const KvGeometry& geometry() const { return reservations_.geometry(); }
  const Reservations& reservations() const { return reservations_; }

  // Promises a new sequence what it needs. reservations().CanReserve must hold.
  BlockTable Reserve(const KvNeed& need, int shift);

  // Gives the sequence the blocks it lacks for positions before `end_position`.
  std::vector<BlockGrant> Extend(BlockTable& table, int64_t end_position);
  // Extend for a sequence that has no blocks yet and whose KV before `position` comes from elsewhere: gives
  // it the blocks that a token at `position` or later can see, and none before.
  std::vector<BlockGrant> ExtendAt(BlockTable& table, int64_t position);
  // Takes back the blocks that no token at `next_position` or later can see.
  void Trim(BlockTable& table, int64_t next_position);
  // Takes back all blocks and the reservation. The table is empty afterwards.
  void Free(BlockTable& table);

  // Calls function(page, fill) for the pages that the sequence holds on one rank; fill is the share of the
  // page's positions that the sequence has reached.
  void ForEachPage(const BlockTable& table, int kvp_rank,
                   const std::function<void(int32_t, double)>& function) const;

  int64_t in_use(int kvp_rank) const { return allocators_[static_cast<size_t>(kvp_rank)].in_use(); }

 private:
  explicit BlockManager(KvGeometry geometry);
  void ReleaseFront(BlockTable& table, size_t group, int64_t first_live_block);

  Reservations reservations_;
  std::vector<BlockAllocator> allocators_;  // [kvp]
};

}  // namespace longspan
