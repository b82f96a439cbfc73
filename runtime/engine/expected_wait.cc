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
  for (const RemainingWork& work : shortest_first) Run(work);
}

void Forecast::Run(const RemainingWork& work) {
  prefill_end_s_ = std::max(prefill_end_s_, now_s_) +
                   static_cast<double>(work.prefill_tokens) / rates_.prefill_tokens_per_s;
  const double begin_s = work.prefill_tokens > 0 ? prefill_end_s_ : now_s_;
  ends_.emplace_back(begin_s + work.output_tokens * rates_.decode_step_s, work.pages);
  std::push_heap(ends_.begin(), ends_.end(), std::greater<>());
}

double Forecast::Start(const RemainingWork& work) {
  while ((free_.slots < 1 || free_.pages < work.pages) && !ends_.empty()) {
    std::pop_heap(ends_.begin(), ends_.end(), std::greater<>());
    now_s_ = std::max(now_s_, ends_.back().first);
    free_.pages += ends_.back().second;
    ++free_.slots;
    ends_.pop_back();
  }
  --free_.slots;
  free_.pages -= work.pages;
  Run(work);
  return now_s_;
}

double Forecast::RoomFor(int64_t pages) const { return Forecast(*this).Start({.pages = pages}); }

double ExpectedStart(std::span<const RemainingWork> running, std::span<const RemainingWork> waiting,
                     FreeCapacity free, const ServiceRates& rates) {
  Forecast forecast(running, free, rates);
  double last_s = 0;
  for (const RemainingWork& work : waiting) last_s = forecast.Start(work);
  return last_s;
}

}  // namespace longspan
