// Who may start, and at whose expense. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/clock.h"
#include "kvstore/reservations.h"

namespace longspan {

// The priority a request counts as: it rises by a level for every kAgeingInterval in the queue and with every
// preemption, so that in the end it is the first, and nobody can preempt it any more.
inline constexpr Clock::Duration kAgeingInterval = std::chrono::seconds(30);
int64_t AgedPriority(int priority, Clock::Duration waited, int preemptions);

// Whether a sequence can start beside those that run, and then its shift, which may be given: it needs a
// slot, and its whole demand on every rank beside what was promised to the others.
std::optional<int> Admit(const KvNeed& need, const Reservations& store, int free_slots,
                         std::optional<int> given_shift = std::nullopt);

// A running sequence that might have to make room.
struct VictimView {
  int64_t aged_priority = 0;
  int64_t computed_tokens = 0;        // that would have to be computed again
  std::span<const int64_t> reserved;  // [kvp], pages
};

// Indices of running sequences without which Admit would succeed, each of them below `priority`: those of the
// lowest priority, of equals those that lose least, and none that could stay. Nothing if they do not suffice.
std::vector<size_t> ChooseVictims(int priority, const KvNeed& need, const Reservations& store, int free_slots,
                                  std::span<const VictimView> running);

}  // namespace longspan
