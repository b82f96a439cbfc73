// Where a request was, and when: what GET /v1/requests/ID/trace tells.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/clock.h"
#include "runtime/coordinator/group_description.h"

namespace longspan {

struct TraceSpan {
  std::string name;   // "queued", "prefill", "transfer" or "decode"
  GroupId group = 0;  // 0: in the coordinator
  Clock::Time begin;
  std::optional<Clock::Time> end;  // absent: it goes on
};

// Threads: all methods from any thread. The clock outlives it.
class Timeline {
 public:
  explicit Timeline(const Clock& clock) : clock_(clock) {}

  void Begin(std::string_view name, GroupId group) {
    const std::lock_guard lock(mutex_);
    spans_.push_back({std::string(name), group, clock_.Now(), std::nullopt});
  }
  // The last of this name, if it goes on.
  void End(std::string_view name) {
    const std::lock_guard lock(mutex_);
    for (auto span = spans_.rbegin(); span != spans_.rend(); ++span) {
      if (span->name != name) continue;
      if (!span->end) span->end = clock_.Now();
      return;
    }
  }
  void EndAll() {
    const std::lock_guard lock(mutex_);
    for (TraceSpan& span : spans_) {
      if (!span.end) span.end = clock_.Now();
    }
  }
  std::vector<TraceSpan> spans() const {
    const std::lock_guard lock(mutex_);
    return spans_;
  }

 private:
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<TraceSpan> spans_;
};

}  // namespace longspan
