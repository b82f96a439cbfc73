#include "kvstore/reservations.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/check.h"
#include "kvstore/shard_map.h"

namespace longspan {

Reservations::Reservations(KvGeometry geometry)
    : geometry_(std::move(geometry)), reserved_(geometry_.pages_per_rank.size(), 0) {}

int Reservations::ChooseShift(const KvNeed& need) const {
  // Another shift is the same demand, rotated over the ranks.
  const std::vector<int64_t> demand = KvDemand(geometry_, need, /*shift=*/0);
  int best_shift = 0;
  std::vector<int64_t> best, left(demand.size());
  for (int shift = 0; shift < geometry_.kvp; ++shift) {
    for (int k = 0; k < geometry_.kvp; ++k) {
      left[static_cast<size_t>(k)] =
          free(k) - demand[static_cast<size_t>(BlockResidue(k, shift, geometry_.kvp))];
    }
    std::sort(left.begin(), left.end());
    if (best.empty() || left > best) {
      best = left;
      best_shift = shift;
    }
  }
  return best_shift;
}

bool Reservations::CanReserve(const KvNeed& need, int shift) const {
  const std::vector<int64_t> demand = KvDemand(geometry_, need, shift);
  for (int k = 0; k < geometry_.kvp; ++k) {
    if (demand[static_cast<size_t>(k)] > free(k)) return false;
  }
  return true;
}

std::vector<int64_t> Reservations::Reserve(const KvNeed& need, int shift) {
  LONGSPAN_CHECK(shift >= 0 && shift < geometry_.kvp);
  std::vector<int64_t> demand = KvDemand(geometry_, need, shift);
  for (int k = 0; k < geometry_.kvp; ++k) {
    reserved_[static_cast<size_t>(k)] += demand[static_cast<size_t>(k)];
    LONGSPAN_CHECK(free(k) >= 0);
  }
  return demand;
}

void Reservations::Release(std::span<const int64_t> pages) {
  LONGSPAN_CHECK(pages.size() == reserved_.size());
  for (size_t k = 0; k < pages.size(); ++k) {
    reserved_[k] -= pages[k];
    LONGSPAN_CHECK(reserved_[k] >= 0);
  }
}

int64_t Reservations::LargestContext(int64_t chunk_tokens, int64_t at_most) const {
  // The demand never falls with the length, so the lengths that fit are those up to the answer.
  int64_t fits = 0;
  int64_t above = at_most + 1;
  while (above - fits > 1) {
    const int64_t middle = fits + (above - fits) / 2;
    (CanReserveSomehow({middle, chunk_tokens}) ? fits : above) = middle;
  }
  return fits;
}

bool Reservations::CanReserveSomehow(const KvNeed& need) const {
  // Another shift is the same demand, rotated over the ranks.
  const std::vector<int64_t> demand = KvDemand(geometry_, need, /*shift=*/0);
  for (int shift = 0; shift < geometry_.kvp; ++shift) {
    int k = 0;
    while (k < geometry_.kvp &&
           demand[static_cast<size_t>(BlockResidue(k, shift, geometry_.kvp))] <= free(k)) {
      ++k;
    }
    if (k == geometry_.kvp) return true;
  }
  return false;
}

int64_t Reservations::headroom() const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int k = 0; k < geometry_.kvp; ++k) least = std::min(least, free(k));
  return least;
}

}  // namespace longspan
