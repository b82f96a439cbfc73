// Time, injected: what waits or measures takes a Clock, so that tests decide how time passes.
#pragma once

#include <atomic>
#include <chrono>

namespace longspan {

// Monotonic. Thread-safe.
class Clock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

inline double ToSeconds(Clock::Duration duration) { return std::chrono::duration<double>(duration).count(); }
inline Clock::Duration FromSeconds(double seconds) {  // of at most 292 years
  return std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(seconds));
}

class SteadyClock final : public Clock {
 public:
  Time Now() const override { return std::chrono::steady_clock::now(); }
};

// Stands still until it is told to advance.
class ManualClock final : public Clock {
 public:
  Time Now() const override { return Time(Duration(elapsed_.load())); }
  void Advance(Duration duration) { elapsed_.fetch_add(duration.count()); }

 private:
  std::atomic<Duration::rep> elapsed_{0};
};

}  // namespace longspan
