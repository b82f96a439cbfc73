// Who was promised how much of a group's KV store, before anybody holds a page of it.
//
// A coordinator keeps one for each of its groups, a group one for itself: given the same requests they agree.
// All numbers are pages, of one kvp rank each; on every rank reserved <= capacity, always. Breaking a promise
// is a bug, never an error: whoever reserves asks CanReserve first. Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kvstore/kv_geometry.h"

namespace longspan {

class Reservations {
 public:
  // The geometry is valid.
  explicit Reservations(KvGeometry geometry);

  const KvGeometry& geometry() const { return geometry_; }

  // The shift that leaves the most headroom on the rank that has least, then on the next, and so on; the
  // lowest of equals. When any shift can be reserved, this one can.
  int ChooseShift(const KvNeed& need) const;
  bool CanReserve(const KvNeed& need, int shift) const;
  // Promises KvDemand(...) pages, [kvp], and returns how many. CanReserve must hold.
  std::vector<int64_t> Reserve(const KvNeed& need, int shift);
  // Takes back what Reserve returned.
  void Release(std::span<const int64_t> pages);

  // The longest sequence that can be reserved, `at_most` if that fits; 0 if nothing does.
  int64_t LargestContext(int64_t chunk_tokens, int64_t at_most) const;

  int64_t capacity(int kvp_rank) const { return geometry_.pages_per_rank[static_cast<size_t>(kvp_rank)]; }
  int64_t reserved(int kvp_rank) const { return reserved_[static_cast<size_t>(kvp_rank)]; }
  int64_t free(int kvp_rank) const { return capacity(kvp_rank) - reserved(kvp_rank); }
  // The least free on any rank.
  int64_t headroom() const;

 private:
  bool CanReserveSomehow(const KvNeed& need) const;  // with any shift

  KvGeometry geometry_;
  std::vector<int64_t> reserved_;  // [kvp]
};

}  // namespace longspan
