// Which request runs where and when: the decisions of a coordinator, without threads, clocks or peers.
//
// It keeps what every group was promised (kvstore/reservations.h) and who waits. The caller tells it what
// happens, in order, and carries out what Decide says, in order. Given the same calls it decides the same, so
// that a log of them can be replayed (decision_log.h). On every rank of every group reserved <= capacity, at
// every moment. Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/coordinator/placement.h"

namespace longspan {

using TicketId = int64_t;  // of a request, from 1 in order of arrival

struct DispatcherOptions {
  int64_t max_waiting = 256;  // requests; a full queue refuses
  // The same, in tokens of prompts. A queue that is empty takes a prompt of any length.
  int64_t max_waiting_tokens = std::numeric_limits<int64_t>::max();
  // A request that ran in so many groups when they were lost is given up: it may be what kills them.
  int max_losses = 2;
  // How long a request waits for a group that could hold it, while there is none.
  Clock::Duration homeless_timeout = std::chrono::seconds(30);
};

// What the dispatcher knows of a request.
struct Demand {
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;  // output
  bool prompt_logits = false;
  int priority = 0;
  std::optional<Clock::Time> deadline;
};

// One thing to be carried out.
struct Decision {
  enum class Kind : uint8_t {
    kStart,    // on `group`, with `shift`
    kPreempt,  // takes it from `group`: it waits again, with the tokens it has
    kExpire,   // its deadline has passed; it is taken from `group` where it runs
    kFail,     // it is given up, for `reason`
  };
  Kind kind = Kind::kStart;
  TicketId ticket = 0;
  GroupId group = 0;  // 0: none
  int shift = 0;
  std::string reason;
  bool operator==(const Decision&) const = default;
};

std::string_view Name(Decision::Kind kind);  // "start", "preempt", "expire", "fail"

class Dispatcher {
 public:
  explicit Dispatcher(DispatcherOptions options) : options_(options) {}

  // `group` is new.
  void AddGroup(GroupId group, GroupDescription description);
  // What ran there waits again; nothing has to be sent to it.
  void RemoveGroup(GroupId group, Clock::Time now);
  // It gets no new requests.
  void DrainGroup(GroupId group);
  void SetLoad(GroupId group, const GroupLoad& load);

  // Queues a request. InvalidArgument when no group could ever hold it, and names the largest output or
  // context that would fit; ResourceExhausted when the queue is full; Unavailable when there is no group.
  absl::StatusOr<TicketId> Submit(const Demand& demand, Clock::Time now);
  // What Submit would say of any request.
  absl::Status Admits() const;
  // It has ended; by itself, after so many tokens of output, or because nobody waits for it any more. Unknown
  // tickets are ignored.
  void End(TicketId ticket, std::optional<int64_t> output_tokens);
  // Its group has refused it: it waits again, and is not tried there before the group's next load.
  void Refused(TicketId ticket, Clock::Time now);

  std::vector<Decision> Decide(Clock::Time now);
  // When Decide has something to do even if nothing happens.
  Clock::Time next_event() const { return next_event_; }

  // Seconds until the queue has room, if no other request comes; 0 when it has.
  double ExpectedWait() const;
  // The longest context, prompt plus output, that some group could hold.
  int64_t LargestContext() const;

  int64_t waiting() const { return waiting_count_; }
  int64_t waiting_prompt_tokens() const { return waiting_prompt_tokens_; }
  // Of a group that is known.
  const GroupState& group(GroupId group) const { return *groups_.at(group); }

 private:
  struct Ticket {
    TicketId id = 0;
    Demand demand;
    Clock::Time queued_at;                      // the last time
    Clock::Duration waited{};                   // the times before
    std::optional<Clock::Time> homeless_since;  // no group could hold it
    int preemptions = 0, losses = 0;
    GroupId refused_by = 0;                          // since that group's last load
    int64_t computed_tokens = 0, output_tokens = 0;  // as its group said last

    GroupId group = 0;              // 0: it waits
    int64_t prefill_tokens = 0;     // those it had when it started
    std::vector<int64_t> reserved;  // [kvp] pages, of the group

    int64_t total_tokens() const { return demand.prompt_tokens + demand.max_tokens; }
    int64_t AgedPriorityAt(Clock::Time now) const;
  };
  struct Group : GroupState {
    using GroupState::GroupState;
    std::map<TicketId, Ticket*> tickets;  // that run there
  };
  // What is kept for the first in the queue that fits nowhere: what goes before it on the group must end
  // before `at`.
  struct Future {
    TicketId ticket = 0;
    GroupId group = 0;
    Clock::Time at;
  };
  using WaitingClass = std::map<TicketId, Ticket*>;

  std::vector<Ticket*> Order(Clock::Time now) const;
  void Wait(Ticket& ticket, Clock::Time now);
  void TakeFromQueue(Ticket& ticket);
  void StopRunning(Ticket& ticket);
  void EndOverdue(Clock::Time now, std::vector<Decision>* decisions);
  // `behind`: the future is somebody else's who comes first.
  bool TryStart(Ticket& ticket, bool behind, Clock::Time now, std::vector<Decision>* decisions);
  bool TryPreempt(Ticket& ticket, Clock::Time now, std::vector<Decision>* decisions);
  void Start(Ticket& ticket, const Placement& placement, Clock::Time now, std::vector<Decision>* decisions);
  void KeepRoomFor(Ticket& ticket, Clock::Time now);
  bool EndsBefore(const Ticket& ticket, const Group& group, Clock::Time now, Clock::Time at) const;
  bool CouldHold(const Group& group, const Ticket& ticket) const;
  ServiceRates UsualRates() const;
  Forecast ForecastOf(const Group& group) const;
  int64_t PrefillLeft(const Ticket& ticket) const;
  RemainingWork WorkOf(const Ticket& ticket, const Group& group) const;

  const DispatcherOptions options_;
  TicketId next_ticket_ = 1;
  std::map<GroupId, std::unique_ptr<Group>> groups_;
  std::map<TicketId, std::unique_ptr<Ticket>> tickets_;
  std::map<int, WaitingClass, std::greater<>> waiting_;  // by priority; none is empty
  int64_t waiting_count_ = 0, waiting_prompt_tokens_ = 0;
  std::optional<Future> future_;
  double output_share_ = 1;  // of its max_tokens that a request comes to, of late
  Clock::Time next_event_ = Clock::Time::max();
};

}  // namespace longspan
