// How long to pause between two polls of something that may come at once or in an hour.
//
// A worker waits for its next step by polling. While steps follow each other, microseconds count, so for the
// first 2 ms it only gives its core away to whoever wants it. After that it is idle, and sleeps for longer
// and longer, up to 1 ms, which costs well under 1 % of a core.
#pragma once

#include <chrono>

#include "comm/clock.h"

namespace longspan {

class IdleBackoff {
 public:
  static constexpr std::chrono::microseconds kSpin{2000};
  static constexpr std::chrono::microseconds kFirstSleep{50};
  static constexpr std::chrono::microseconds kLongestSleep{1000};

  // The wait begins now. `clock` must outlive this.
  explicit IdleBackoff(const Clock& clock) : clock_(clock), begin_(clock.Now()) {}

  // How long to sleep before the next poll; zero means to yield.
  std::chrono::microseconds NextSleep();

  // Yields or sleeps for NextSleep().
  void Pause();

 private:
  const Clock& clock_;
  const Clock::Time begin_;
  std::chrono::microseconds sleep_{0};
};

}  // namespace longspan
