// Takes requests in and has them computed by the groups that are there, wherever there is room.
//
// A request whose group is lost goes on elsewhere, from its prompt and the tokens it has; who waits for it
// notices nothing but a pause. Tokens are those of an undisturbed run. Decisions are the dispatcher's
// (dispatcher.h), and are logged.
//
// Threads: all methods from any thread. Listeners are called on the threads of the groups, one call at a
// time for each request, and must not call back.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/coordinator/decision_log.h"
#include "runtime/coordinator/dispatcher.h"
#include "runtime/coordinator/group_link.h"
#include "runtime/coordinator/timeline.h"
#include "runtime/engine/request.h"
#include "runtime/engine/request_check.h"
#include "runtime/engine/response_listener.h"

namespace longspan {

struct CoordinatorOptions {
  DispatcherOptions dispatcher;
  RequestLimits limits;  // but for store_tokens, which groups decide
  // What groups must have; of empty fields, what the first group has.
  GroupIdentity identity;
  std::vector<int32_t> eos_token_ids;  // as the groups know them
  // Hears of every decision, and of what decided it (decision_log.h); may be empty.
  LoggedDispatcher::Sink decision_log;
  uint64_t seed = 0;  // a request that brings no seed is given DeriveSeed(seed, its ticket)
};

// A group as everybody may look at it.
struct GroupView {
  GroupId id = 0;
  GroupDescription description;
  bool draining = false;
  std::vector<int64_t> reserved;            // [kvp] pages, by the coordinator's account
  int64_t running = 0;                      // requests
  std::shared_ptr<const GroupStatus> told;  // null before the first

  // As the group told last, or as it begins.
  KvRankSnapshot KvOfRank(size_t rank) const;
};

struct ClusterView {
  std::vector<GroupView> groups;  // by id
  int64_t waiting = 0, waiting_prompt_tokens = 0;
  double expected_wait_s = 0;
  // Of all groups, those that were lost too, as they told last.
  EngineTotals totals;
  CommCounters comm;
  int64_t preemptions_total = 0;
  int64_t groups_lost_total = 0, group_restarts_total = 0;  // a restart: one of a lost group's name joins
  // Whose KV was given up, by why: a preemption, or the loss of the group.
  int64_t recomputed_after_preemption_total = 0, recomputed_after_loss_total = 0;
};

class Coordinator {
 public:
  // The clock outlives it.
  Coordinator(CoordinatorOptions options, const Clock& clock);
  // Everything has ended by then.
  ~Coordinator();

  // --- for those who ask

  // Errors as Dispatcher::Submit; Unavailable also when it drains or has failed. The listener is kept until
  // it has heard of the end.
  absl::StatusOr<TicketId> Submit(Request request, std::shared_ptr<ResponseListener> listener);
  // What Submit would say now of any request.
  absl::Status Admits() const;
  // OnFinish(kCancelled) is called before this returns, from this thread. Unknown and ended tickets are
  // ignored.
  void Cancel(TicketId ticket);
  // What CheckRequest is to hold requests to.
  RequestLimits limits() const;
  // Seconds until a request that comes now can expect to be taken in; at most 100 ms old.
  double expected_wait_s() const { return expected_wait_s_; }
  int64_t open() const;
  // What decides the numbers of answers; fields are empty that wait for the first group.
  GroupIdentity identity() const;
  ClusterView view() const;
  // Of a request, one of the last few thousand; empty of others.
  std::vector<TraceSpan> trace(TicketId ticket) const;

  // --- for groups

  // Takes a group in, unless its identity is another: FailedPrecondition names the field. `make_link` is told
  // its number, and must not call back. The link is used until RemoveGroup returns.
  using MakeLink = std::function<std::shared_ptr<GroupLink>(GroupId group)>;
  absl::StatusOr<GroupId> AddGroup(GroupDescription description, const MakeLink& make_link);
  void SetStatus(GroupId group, GroupStatus status);
  // It gets no new requests.
  void DrainGroup(GroupId group);
  // It is lost, or, where `why` is OK, has left in order: what it was asked for goes on elsewhere. Unknown
  // groups are ignored. Listeners hear nothing more of the group once this returns.
  void RemoveGroup(GroupId group, const absl::Status& why);

  // --- for who runs it

  // Takes no more requests. What is open after `timeout` is cancelled.
  void Drain(Clock::Duration timeout);
  bool drained() const { return open() == 0; }
  // Hears from now on how each handoff went, on any thread.
  void ObserveHandoffs(std::function<void(const KvArrival& arrival)> observer);
  // Ends every request with this error, and refuses further ones.
  void Fail(const absl::Status& reason);

 private:
  class Flow;  // a request, from Submit to its end
  class Run;   // of a flow on one group: what that group's link calls
  struct Group {
    GroupDescription description;
    std::shared_ptr<GroupLink> link;
    std::shared_ptr<const GroupStatus> told;
    std::map<RunId, TicketId> runs;
  };
  struct RunPlace {
    GroupId group = 0;
    RunId run = 0;  // 0: none
  };
  struct Places {
    RunPlace main;     // the whole request, or what follows the prompt
    RunPlace prefill;  // the prompt, where it is computed elsewhere, until its KV has arrived
    bool kv_arrived = false;
  };
  using FlowEnd = std::function<void()>;

  // With the mutex held; what listeners hear of it is appended to `ends`, to be called without.
  void Decide(std::vector<FlowEnd>* ends);
  void CancelLocked(TicketId ticket, std::vector<FlowEnd>* ends);
  // Of a ticket that listens to no group.
  bool EndIfDone(TicketId ticket, std::vector<FlowEnd>* ends);
  void StartRun(const Decision& decision);
  // Of a ticket that runs somewhere or not: listens to its group no longer, and tells it when it can be told.
  void HaltRun(TicketId ticket);
  // Cancels what of it is not on `group`, and forgets all of it.
  void ForgetRun(TicketId ticket, GroupId group);
  void CancelRun(RunPlace& place);
  void ReleasePrefill(TicketId ticket);
  RunPlace NewRun(GroupId group, TicketId ticket);
  // Of the KV that the run of a ticket holds, as far as is known.
  int64_t ComputedTokens(TicketId ticket) const;
  // Null when there is none.
  std::shared_ptr<Flow> TakeFlow(TicketId ticket);
  absl::Status AdmitsLocked() const;
  static void Call(const std::vector<FlowEnd>& ends);

  // Called by runs.
  void OnReadyForKv(Run& run);
  void OnPrefilled(const Run& run, int32_t token);
  void OnKvArrived(const Run& run, const KvArrival& arrival);
  // With a reason, or else with an error.
  void OnRunEnd(const Run& run, std::optional<FinishReason> reason, const absl::Status& error);

  void RunTimer();

  const CoordinatorOptions options_;
  const Clock& clock_;

  std::atomic<double> expected_wait_s_ = 0;

  mutable std::mutex mutex_;  // of the following
  LoggedDispatcher dispatcher_;
  std::map<GroupId, Group> groups_;
  std::map<TicketId, std::shared_ptr<Flow>> flows_;
  std::map<TicketId, std::shared_ptr<Timeline>> timelines_;  // of the last ones
  std::map<TicketId, Places> places_;                        // of those that run
  GroupId next_group_ = 1;
  RunId next_run_ = 1;
  bool draining_ = false, ending_ = false;
  Clock::Time drain_end_ = Clock::Time::max();
  absl::Status failure_;
  std::function<void(const KvArrival& arrival)> handoff_observer_;
  GroupIdentity identity_;
  ClusterView past_;                       // its totals: of lost groups, and those that are nobody's
  std::multiset<std::string> lost_names_;  // of groups that have not come back
  std::condition_variable changed_;
  std::thread timer_;
};

}  // namespace longspan
