#include "runtime/engine/expected_wait.h"

#include <algorithm>
#include <functional>

#include "kernels/check.h"

namespace longspan {

Forecast::Forecast(std::span<const RemainingWork> running, FreeCapacity free, const ServiceRates& rates)
    : free_(free), rates_(rates) {
  LONGSPAN_CHECK(rates.prefill_tokens_per_s > 0 && rates.decode_step_s > 0);
  // The order that the scheduler prefers, Schedule.
  std::vector<RemainingWork> shortest_first(running.begin(), running.end());
  std::sort(shortest_first.begin(), shortest_first.end(), [](const RemainingWork& a, const RemainingWork& b) {
    return a.prefill_tokens < b.prefill_tokens;
  });
  ends_.reserve(shortest_first.size());
  for (const RemainingWork& work : shortest_first) ends_.push_back(Run(work));
  std::sort(ends_.begin(), ends_.end(), std::greater<>());
}

Forecast::End Forecast::Run(const RemainingWork& work) {
  prefill_end_s_ = std::max(prefill_end_s_, now_s_) +
                   static_cast<double>(work.prefill_tokens) / rates_.prefill_tokens_per_s;
  const double begin_s = work.prefill_tokens > 0 ? prefill_end_s_ : now_s_;
  return {begin_s + work.output_tokens * rates_.decode_step_s, work.pages};
}

Forecast::Room Forecast::FirstRoom(int64_t pages) const {
  Room room = {.at_s = now_s_, .free = free_};
  while ((room.free.slots < 1 || room.free.pages < pages) && room.ended < ends_.size()) {
    const auto& [end_s, end_pages] = ends_[ends_.size() - ++room.ended];
    room.at_s = std::max(room.at_s, end_s);
    room.free.pages += end_pages;
    ++room.free.slots;
  }
  return room;
}

double Forecast::Start(const RemainingWork& work) {
  const Room room = FirstRoom(work.pages);
  now_s_ = room.at_s;
  free_ = {room.free.slots - 1, room.free.pages - work.pages};
  ends_.resize(ends_.size() - room.ended);
  const End end = Run(work);
  ends_.insert(std::upper_bound(ends_.begin(), ends_.end(), end, std::greater<>()), end);
  return now_s_;
}

double Forecast::RoomFor(int64_t pages) const { return FirstRoom(pages).at_s; }

}  // namespace longspan
