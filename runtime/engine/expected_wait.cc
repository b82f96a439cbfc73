#include "runtime/engine/expected_wait.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace longspan {
namespace {

class Forecast {
 public:
  Forecast(FreeCapacity free, const ServiceRates& rates) : free_(free), rates_(rates) {}

  void Start(const RemainingWork& work) {
    --free_.slots;
    free_.pages -= work.pages;
    Run(work);
  }
  // One that has its slot and pages.
  void Run(const RemainingWork& work) {
    prefill_end_s_ = std::max(prefill_end_s_, now_s_) +
                     static_cast<double>(work.prefill_tokens) / rates_.prefill_tokens_per_s;
    const double begin_s = work.prefill_tokens > 0 ? prefill_end_s_ : now_s_;
    ends_.emplace(begin_s + work.output_tokens * rates_.decode_step_s, work.pages);
  }
  void WaitFor(int64_t pages) {
    while ((free_.slots < 1 || free_.pages < pages) && !ends_.empty()) {
      now_s_ = std::max(now_s_, ends_.top().first);
      free_.pages += ends_.top().second;
      ++free_.slots;
      ends_.pop();
    }
  }
  double now_s() const { return now_s_; }

 private:
  FreeCapacity free_;
  const ServiceRates rates_;
  double now_s_ = 0;
  double prefill_end_s_ = 0;               // of all that started so far
  using End = std::pair<double, int64_t>;  // seconds, pages
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

}  // namespace

double ExpectedStart(std::span<const RemainingWork> running, std::span<const RemainingWork> waiting,
                     FreeCapacity free, const ServiceRates& rates) {
  LONGSPAN_CHECK(rates.prefill_tokens_per_s > 0 && rates.decode_step_s > 0);
  // The order that the scheduler prefers, Schedule.
  std::vector<RemainingWork> shortest_first(running.begin(), running.end());
  std::sort(shortest_first.begin(), shortest_first.end(), [](const RemainingWork& a, const RemainingWork& b) {
    return a.prefill_tokens < b.prefill_tokens;
  });
  Forecast forecast(free, rates);
  for (const RemainingWork& work : shortest_first) forecast.Run(work);
  for (const RemainingWork& work : waiting) {
    forecast.WaitFor(work.pages);
    forecast.Start(work);
  }
  return forecast.now_s();
}

}  // namespace longspan
