// Decides from what is heard of other ranks, and when, whether one of them is lost. Does no input or output.
// Threads: one thread at a time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/clock.h"
#include "comm/progress_record.h"

namespace longspan {

struct LivenessLimits {
  // Without a heartbeat: the rank is stopped, or cut off.
  Clock::Duration silence = std::chrono::seconds(4);
  // From the first sign of a loss to the verdict: an end shows on several ranks at once, and the one that has
  // ended explains more than those that miss it.
  Clock::Duration settling = std::chrono::milliseconds(100);
  // Without progress of any rank while some are in a step: one hangs. Where operations have taken longer, as
  // a layer of a large chunk over a long context may, it is so many times the longest, up to `longest_step`:
  // they grow with the context, chunk by chunk.
  Clock::Duration step = std::chrono::milliseconds(7500);
  int step_growth = 4;
  Clock::Duration longest_step = std::chrono::seconds(120);
  // The same while some are loading, perhaps from slow storage.
  Clock::Duration loading = std::chrono::seconds(900);
  // Between two checks: longer, and this rank itself stood still, and must not hold it against others.
  Clock::Duration stall = std::chrono::seconds(1);
};

struct RankPlace {
  int rank = 0;
  std::string host;
  int process = 0;
};

struct Loss {
  int rank = 0;
  absl::Status status;  // names the rank, its host, what it did last, and what to do
};

class LivenessMonitor {
 public:
  // `own_rank` may be among the watched: its progress counts, and it is never silent.
  LivenessMonitor(int own_rank, const std::vector<RankPlace>& watched, const LivenessLimits& limits,
                  Clock::Time now);

  // Of a watched rank. What is heard after Left or Closed is ignored.
  void Heard(int rank, const Activity& activity, Clock::Time now);
  void Closed(int rank, Clock::Time now);                              // its connection, without Left
  void Failed(int rank, const absl::Status& status, Clock::Time now);  // in its own words
  void Left(int rank);                                                 // in order

  bool AllLeft() const;  // but for the own rank
  // There is a sign of a loss: check again soon.
  bool suspects() const { return first_sign_.has_value(); }
  // The loss that explains most, once. To be called often.
  std::optional<Loss> Check(Clock::Time now);

 private:
  enum class Sign { kNone, kFailed, kSilent, kClosed };  // the later, the nearer to the cause
  struct Watched {
    RankPlace place;
    Activity activity;
    Clock::Time heard, changed;  // changed: when another activity was first heard of
    bool left = false;
    Sign sign = Sign::kNone;
    absl::Status failure;
  };

  Watched& Of(int rank);
  void Suspect(Watched& watched, Sign sign, Clock::Time now);
  void AllowForStall(Clock::Time now);
  Clock::Time LastChange() const;  // of any rank
  Clock::Duration StepLimit() const;
  std::optional<Loss> FindHang(Clock::Time now) const;
  Loss Explain(const Watched& watched, Clock::Time now) const;

  const int own_rank_;
  const LivenessLimits limits_;
  std::vector<Watched> watched_;
  Clock::Duration longest_{};  // that no rank made progress in a step
  std::optional<Clock::Time> first_sign_;
  Clock::Time checked_;
  // The latest stall of this rank itself.
  Clock::Duration stall_{};
  Clock::Time stall_end_;
};

}  // namespace longspan
