#include "runtime/engine/admission.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace longspan {
namespace {

// What would be left, with one shift, after the sequence took its demand and the victims went.
class Room {
 public:
  Room(const KvNeed& need, const Reservations& store, int free_slots, int shift) : slots_(free_slots - 1) {
    for (const int64_t pages : KvDemand(store.geometry(), need, shift)) {
      const int rank = static_cast<int>(pages_.size());
      pages_.push_back(store.free(rank) - pages);
    }
  }
  void Add(const VictimView& victim, int sign) {
    slots_ += sign;
    for (size_t k = 0; k < pages_.size(); ++k) pages_[k] += sign * victim.reserved[k];
  }
  bool suffices() const { return slots_ >= 0 && *std::min_element(pages_.begin(), pages_.end()) >= 0; }

 private:
  int64_t slots_;
  std::vector<int64_t> pages_;  // [kvp]
};

std::vector<size_t> ChooseVictims(Room room, std::span<const VictimView> running,
                                  std::span<const size_t> candidates) {
  std::vector<size_t> victims;
  for (const size_t i : candidates) {
    if (room.suffices()) break;
    room.Add(running[i], 1);
    victims.push_back(i);
  }
  if (!room.suffices()) return {};
  // A later victim may have made an earlier one needless.
  std::vector<size_t> needed;
  for (const size_t i : victims) {
    room.Add(running[i], -1);
    if (room.suffices()) continue;
    room.Add(running[i], 1);
    needed.push_back(i);
  }
  return needed;
}

}  // namespace

int64_t AgedPriority(int priority, Clock::Duration waited, int preemptions) {
  return int64_t{priority} + waited / kAgeingInterval + preemptions;
}

std::optional<int> Admit(const KvNeed& need, const Reservations& store, int free_slots,
                         std::optional<int> given_shift) {
  if (free_slots == 0) return std::nullopt;
  const int shift = given_shift ? *given_shift : store.ChooseShift(need);
  if (!store.CanReserve(need, shift)) return std::nullopt;
  return shift;
}

std::vector<size_t> ChooseVictims(int priority, const KvNeed& need, const Reservations& store, int free_slots,
                                  std::span<const VictimView> running) {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i].aged_priority < priority) candidates.push_back(i);
  }
  std::sort(candidates.begin(), candidates.end(), [running](size_t a, size_t b) {
    return std::tuple(running[a].aged_priority, running[a].computed_tokens, a) <
           std::tuple(running[b].aged_priority, running[b].computed_tokens, b);
  });
  std::vector<size_t> fewest;
  if (candidates.empty()) return fewest;
  for (int shift = 0; shift < store.geometry().kvp; ++shift) {
    std::vector<size_t> victims = ChooseVictims(Room(need, store, free_slots, shift), running, candidates);
    if (!victims.empty() && (fewest.empty() || victims.size() < fewest.size())) fewest = std::move(victims);
  }
  return fewest;
}

}  // namespace longspan
