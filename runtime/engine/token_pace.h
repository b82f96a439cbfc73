// When the tokens of a stream leave, so that they come evenly while prompts are computed in some of the
// steps: a token that was computed early waits for the end of the gap after the one before it.
// prefill_pacer.h says how long a gap is, and counts on it.
#pragma once

#include <algorithm>
#include <optional>

#include "comm/clock.h"

namespace longspan {

// Of the tokens of one step.
struct TokenPace {
  Clock::Duration gap{0};
  Clock::Duration most_held{0};  // none waits for longer

  // When those leave that were computed now, after others that left at `last`.
  Clock::Time After(Clock::Time last, Clock::Time now) const {
    return std::clamp(last + gap, now, now + most_held);
  }
};

// Of one stream. Threads: one at a time.
class ReleaseTimes {
 public:
  // When a token that was computed now leaves: now or later, and never before an earlier one. The first
  // leaves at once.
  Clock::Time Next(Clock::Time now, const TokenPace& pace) {
    last_ = last_ ? std::max(*last_, pace.After(*last_, now)) : now;
    return *last_;
  }
  // When the token before leaves; none before the first.
  const std::optional<Clock::Time>& last() const { return last_; }

 private:
  std::optional<Clock::Time> last_;
};

}  // namespace longspan
