#include "comm/liveness_monitor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"

namespace longspan {
namespace {

constexpr char kRemedy[] = "; look for the reason there and start the group again";

std::string Seconds(Clock::Duration duration) { return absl::StrFormat("%.1f s", ToSeconds(duration)); }

std::string Name(const RankPlace& place) {
  return absl::StrCat("rank ", place.rank, " on ", place.host, " (process ", place.process, ")");
}

}  // namespace

LivenessMonitor::LivenessMonitor(int own_rank, const std::vector<RankPlace>& watched,
                                 const LivenessLimits& limits, Clock::Time now)
    : own_rank_(own_rank), limits_(limits), checked_(now) {
  for (const RankPlace& place : watched) {
    Watched& w = watched_.emplace_back();
    w.place = place;
    w.heard = w.changed = now;
  }
}

LivenessMonitor::Watched& LivenessMonitor::Of(int rank) {
  const auto found = std::find_if(watched_.begin(), watched_.end(),
                                  [rank](const Watched& w) { return w.place.rank == rank; });
  LONGSPAN_CHECK(found != watched_.end());
  return *found;
}

void LivenessMonitor::Suspect(Watched& watched, Sign sign, Clock::Time now) {
  watched.sign = std::max(watched.sign, sign);
  if (!first_sign_) first_sign_ = now;
}

void LivenessMonitor::Heard(int rank, const Activity& activity, Clock::Time now) {
  Watched& watched = Of(rank);
  if (watched.left) return;
  watched.heard = now;
  if (activity == watched.activity) return;
  if (watched.activity.phase == Phase::kStep) longest_ = std::max(longest_, now - LastChange());
  watched.activity = activity;
  watched.changed = now;
}

void LivenessMonitor::Closed(int rank, Clock::Time now) {
  Watched& watched = Of(rank);
  if (!watched.left) Suspect(watched, Sign::kClosed, now);
}

void LivenessMonitor::Failed(int rank, const absl::Status& status, Clock::Time now) {
  Watched& watched = Of(rank);
  watched.failure = status;
  Suspect(watched, Sign::kFailed, now);
}

void LivenessMonitor::Left(int rank) { Of(rank).left = true; }

bool LivenessMonitor::AllLeft() const {
  return std::all_of(watched_.begin(), watched_.end(),
                     [this](const Watched& w) { return w.left || w.place.rank == own_rank_; });
}

void LivenessMonitor::AllowForStall(Clock::Time now) {
  const Clock::Duration gap = now - checked_;
  checked_ = now;
  if (gap <= limits_.stall) return;
  stall_ = gap;
  stall_end_ = now;
  for (Watched& watched : watched_) {
    watched.heard = std::min(watched.heard + gap, now);
    watched.changed = std::min(watched.changed + gap, now);
  }
}

std::optional<Loss> LivenessMonitor::Check(Clock::Time now) {
  AllowForStall(now);
  for (Watched& watched : watched_) {
    const bool speaks = watched.place.rank != own_rank_ && !watched.left;
    if (speaks && now - watched.heard >= limits_.silence) Suspect(watched, Sign::kSilent, now);
  }
  if (!first_sign_) return FindHang(now);
  if (now - *first_sign_ < limits_.settling) return std::nullopt;
  const auto worst = std::max_element(watched_.begin(), watched_.end(),
                                      [](const Watched& a, const Watched& b) { return a.sign < b.sign; });
  return Explain(*worst, now);
}

Clock::Time LivenessMonitor::LastChange() const {
  return std::max_element(watched_.begin(), watched_.end(),
                          [](const Watched& a, const Watched& b) { return a.changed < b.changed; })
      ->changed;
}

Clock::Duration LivenessMonitor::StepLimit() const {
  return std::max(limits_.step, std::min(limits_.step_growth * longest_, limits_.longest_step));
}

// Ranks wait for each other: as long as one makes progress, the others may wait for it.
std::optional<Loss> LivenessMonitor::FindHang(Clock::Time now) const {
  const auto progress = [](const Watched& w) { return std::pair(w.activity.step, w.activity.operations); };
  std::vector<const Watched*> last;  // those furthest behind, for which the others wait
  Clock::Duration limit{};
  for (const Watched& watched : watched_) {
    const Phase phase = watched.activity.phase;
    if (phase == Phase::kFree || watched.left) continue;
    limit = std::max(limit, phase == Phase::kStep ? StepLimit() : limits_.loading);
    if (!last.empty() && progress(watched) < progress(*last.front())) last.clear();
    if (last.empty() || progress(watched) == progress(*last.front())) last.push_back(&watched);
  }
  const Clock::Duration still = now - LastChange();
  if (last.empty() || still < limit) return std::nullopt;
  std::vector<std::string> names;
  for (const Watched* watched : last) names.push_back(Name(watched->place));
  // Inside one operation nobody can tell who waits for whom.
  return Loss{last.front()->place.rank,
              absl::UnavailableError(absl::StrCat(
                  names.size() > 1 ? "one of " : "", absl::StrJoin(names, ", "), " hangs in ",
                  last.front()->activity.ToString(), ": no rank has gone on for ", Seconds(still), kRemedy))};
}

Loss LivenessMonitor::Explain(const Watched& watched, Clock::Time now) const {
  const int rank = watched.place.rank;
  if (watched.sign == Sign::kFailed) {
    if (rank == own_rank_) return {rank, watched.failure};
    return {rank, absl::Status(watched.failure.code(), absl::StrCat(Name(watched.place), ": ",
                                                                    std::string(watched.failure.message())))};
  }
  std::string message = absl::StrCat("lost ", Name(watched.place), ": ");
  if (watched.sign == Sign::kClosed) {
    absl::StrAppend(&message, "its process has ended");
  } else {
    absl::StrAppend(&message, "no sign of life, so its process is stopped or its host cut off");
  }
  if (watched.activity == Activity()) {
    absl::StrAppend(&message, "; nothing was ever heard of it");
  } else {
    absl::StrAppend(&message, "; last heard of ", Seconds(now - watched.heard), " ago in ",
                    watched.activity.ToString());
  }
  if (stall_ > Clock::Duration::zero() && now - stall_end_ <= limits_.silence) {
    absl::StrAppend(&message, "; rank ", own_rank_, ", which says so, had stood still itself for ",
                    Seconds(stall_));
  }
  return {rank, absl::UnavailableError(absl::StrCat(message, kRemedy))};
}

}  // namespace longspan
