#include "comm/backoff.h"

#include <algorithm>
#include <thread>

namespace longspan {

std::chrono::microseconds IdleBackoff::NextSleep() {
  if (sleep_.count() == 0) {
    if (clock_.Now() - begin_ >= kSpin) sleep_ = kFirstSleep;
  } else {
    sleep_ = std::min(2 * sleep_, kLongestSleep);
  }
  return sleep_;
}

void IdleBackoff::Pause() {
  const std::chrono::microseconds sleep = NextSleep();
  if (sleep.count() == 0) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(sleep);
  }
}

}  // namespace longspan
