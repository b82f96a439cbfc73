// The decisions of a dispatcher as a log, and the log as a test of them.
//
// A line for each call that changed something or refused a request, in order: a JSON object with "t",
// nanoseconds of the clock, "call", its arguments and what came of it. Of requests it has sizes, priorities
// and deadlines, never what they ask. The lines:
//
//   {"call":"options", ...}                               the first one
//   {"call":"add_group","group":1, ...}                   and "remove_group", "drain_group"
//   {"call":"load","group":1, ..., "running":[[ticket, computed tokens, output tokens], ...]}
//   {"call":"submit", ..., "ticket":7}                    or "refused", a status code, and "reason"
//   {"call":"end","ticket":7,"output_tokens":20}          without output_tokens: nobody waits for it any more
//   {"call":"refused","ticket":7}                         by its group
//   {"call":"prefilled","ticket":7}                       it needs its prefill group no more
//   {"call":"decide","decisions":[{"kind":"start","ticket":7,"group":1,"shift":0,"reason":"..."}, ...]}
//                                                         and "prefill_group" and "prefill_shift" if it has
//                                                         one
#pragma once

#include <functional>
#include <istream>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/coordinator/dispatcher.h"

namespace longspan {

// A dispatcher that is logged. Threads: one thread at a time.
class LoggedDispatcher {
 public:
  // Called with each line, without its end.
  using Sink = std::function<void(std::string_view line)>;

  // The clock outlives it. Without a sink nothing is logged.
  LoggedDispatcher(DispatcherOptions options, const Clock& clock, Sink sink);

  const Dispatcher& operator*() const { return dispatcher_; }
  const Dispatcher* operator->() const { return &dispatcher_; }

  // As Dispatcher's, at the time of the clock.
  void AddGroup(GroupId group, GroupDescription description);
  void RemoveGroup(GroupId group);
  void DrainGroup(GroupId group);
  void SetLoad(GroupId group, const GroupLoad& load);
  absl::StatusOr<TicketId> Submit(const Demand& demand);
  void End(TicketId ticket, std::optional<int64_t> output_tokens);
  void Refused(TicketId ticket);
  void Prefilled(TicketId ticket);
  std::vector<Decision> Decide();

 private:
  template <typename Line>  // a JSON object
  void Log(const Line& line, Clock::Time now) const;

  Dispatcher dispatcher_;
  const Clock& clock_;
  const Sink sink_;
};

// Makes the calls of a log again. InvalidArgument names the first line that is no line of a log; DataLoss the
// first of which something else comes now, and what.
absl::Status Replay(std::istream& log);

}  // namespace longspan
