// Which request runs where and when: the decisions of a coordinator, without threads, clocks or peers.
//
// It keeps what every group was promised (kvstore/reservations.h) and who waits. The caller tells it what
// happens, in order, and carries out what Decide says, in order. Given the same calls it decides the same, so
// that a log of them can be replayed (decision_log.h). On every rank of every group reserved <= capacity, at
// every moment. Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/coordinator/dispatcher_queue.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/coordinator/placement.h"

namespace longspan {

struct DispatcherOptions {
  int64_t max_waiting = 256;  // requests; a full queue refuses
  // The same, in tokens of prompts. A queue that is empty takes a prompt of any length.
  int64_t max_waiting_tokens = std::numeric_limits<int64_t>::max();
  // A request that ran in so many groups when they were lost is given up: it may be what kills them.
  int max_losses = 2;
  // How long a request waits for a group that could hold it, while there is none.
  Clock::Duration homeless_timeout = std::chrono::seconds(30);
};

// One thing to be carried out.
struct Decision {
  enum class Kind : uint8_t {
    kStart,    // on `group`, with `shift`, and its prompt on `prefill_group` where there is one
    kPreempt,  // takes it from `group`: it waits again, with the tokens it has
    kExpire,   // its deadline has passed; it is taken from `group` where it runs
    kFail,     // it is given up, for `reason`
  };
  Kind kind = Kind::kStart;
  TicketId ticket = 0;
  GroupId group = 0;  // 0: none
  int shift = 0;
  GroupId prefill_group = 0;  // of a start; 0: the whole request runs on `group`
  int prefill_shift = 0;
  std::string reason;
  bool operator==(const Decision&) const = default;
};

std::string_view Name(Decision::Kind kind);  // "start", "preempt", "expire", "fail"

class Dispatcher {
 public:
  explicit Dispatcher(DispatcherOptions options) : options_(options) {}

  // `group` is new.
  void AddGroup(GroupId group, GroupDescription description);
  // What ran there, or has its prompt there, waits again; nothing has to be sent to it.
  void RemoveGroup(GroupId group, Clock::Time now);
  // It gets no new requests. Says whether that was news, as the next ones do.
  bool DrainGroup(GroupId group);
  bool SetLoad(GroupId group, const GroupLoad& load);

  // Queues a request. InvalidArgument when no group could ever hold it, and names the largest output or
  // context that would fit; ResourceExhausted when the queue is full; Unavailable when there is no group.
  absl::StatusOr<TicketId> Submit(const Demand& demand, Clock::Time now);
  // What Submit would say of any request.
  absl::Status Admits() const;
  // It has ended; by itself, after so many tokens of output, or because nobody waits for it any more. Unknown
  // tickets are ignored.
  bool End(TicketId ticket, std::optional<int64_t> output_tokens);
  // Its group has refused it, or its prefill group: it waits again, and neither is tried before its next
  // load.
  bool Refused(TicketId ticket, Clock::Time now);
  // Its prompt is computed and has arrived at its group, or is left to that group after all: it is done with
  // its prefill group. Those without one are ignored, and unknown ones.
  bool Prefilled(TicketId ticket);

  // Does nothing before next_event().
  std::vector<Decision> Decide(Clock::Time now);
  // When Decide has something to do if nothing else happens.
  Clock::Time next_event() const;

  // Seconds until the queue has room for such a prompt, if no other request comes; 0 when it has.
  double ExpectedWait(int64_t prompt_tokens = 0) const;
  // The longest context, prompt plus output, that some group could hold.
  int64_t LargestContext() const { return largest_[0]; }

  int64_t waiting() const { return queue_.size(); }
  int64_t waiting_prompt_tokens() const { return queue_.prompt_tokens(); }
  // Of a group that is known.
  const GroupState& group(GroupId group) const { return *groups_.at(group); }

 private:
  // What is kept on a group for one that waits and fits nowhere: whoever comes after it must end before `at`.
  struct Future {
    Ticket* ticket = nullptr;
    Clock::Time at;    // when those runs will have made room for it
    int64_t runs = 0;  // that had begun when it was kept: later ones never put it off
  };
  struct Group : GroupState {
    Group(GroupId id, GroupDescription description) : GroupState(std::move(description)), id(id) {}

    const GroupId id;
    std::map<TicketId, Ticket*> tickets;  // that run there, or have their prompts there
    std::optional<Future> future;
    int64_t loads = 0;         // it has told
    bool has_refused = false;  // since the last of them
    // As things are there, once known: LargestContextNow; the same if all below a priority were preempted;
    // and the lowest aged priority.
    std::optional<int64_t> room[2], lowest_priority;
    std::map<std::pair<int, bool>, int64_t> room_by_preemption;
    size_t layout = 0;  // of layouts_
  };
  using Groups = std::span<Group* const>;
  struct Walk;  // over the queue, once

  // What happens to tickets and groups; dispatcher.cc.
  void Wait(Ticket& ticket, Clock::Time now);
  void TakeFromQueue(Ticket& ticket);
  void StopRunning(Ticket& ticket);
  void StopPrefill(Ticket& ticket);
  // What is known of its room is so no longer.
  static void ForgetRoom(Group& group);
  void DropFuture(Ticket& ticket);
  // It may have room now for those that were tried.
  void Touch(Group& group);
  void OnGroupsChanged();
  void FindHome(Ticket& ticket, Clock::Time now);
  void Schedule(Ticket& ticket);
  bool CouldHold(const Group& group, const Ticket& ticket) const;
  Forecast ForecastOf(const Group& group, int64_t runs) const;
  // Tokens that are computed again when it starts.
  static int64_t PrefillTokens(const Ticket& ticket) {
    return ticket.demand.prompt_tokens + ticket.output_tokens;
  }
  // What a prefill group has to hold for one that waits: the prompt and a token of output. Of one that ran
  // before nobody has told the last tokens of output: as much as it can come to.
  static int64_t PrefillContext(const Ticket& ticket) {
    return ticket.run == 0 ? ticket.demand.prompt_tokens + 1 : ticket.demand.total_tokens();
  }
  int64_t PrefillLeft(const Ticket& ticket) const;
  RemainingWork WorkOf(const Ticket& ticket, const Group& group) const;

  // What is decided; dispatcher_decide.cc.
  void EndOverdue(Clock::Time now, std::vector<Decision>* decisions);
  void GoThroughQueue(Clock::Time now, std::vector<Decision>* decisions);
  std::vector<Ticket*> Candidates(const Walk& walk, std::vector<Ticket*> fresh) const;
  bool TryStart(Ticket& ticket, Groups groups, Walk& walk);
  struct Prefill {
    GroupId group = 0;
    int shift = 0;
    double first_token_s = 0;  // elsewhere
  };
  std::optional<Prefill> BestPrefill(const Ticket& ticket, const Walk& walk) const;
  bool TryPreempt(Ticket& ticket, Groups groups, Walk& walk);
  void Start(Ticket& ticket, const Placement& placement, Walk& walk);
  void KeepRoomFor(Ticket& ticket, Walk& walk);
  bool MayUse(const Ticket& ticket, const Group& group, double first_token_s, Clock::Time now) const;
  bool IsBehind(const Ticket& ticket, const Group& group) const;
  Clock::Time RoomAt(const Group& group, const Ticket& ticket, int64_t runs, Clock::Time now) const;
  static bool HasRefused(const Group& group, const Ticket& ticket);
  static int64_t Room(Group& group, bool prompt_logits);
  static int64_t RoomByPreemption(Group& group, int priority, bool prompt_logits);
  static int64_t LowestPriority(Group& group);

  const DispatcherOptions options_;
  TicketId next_ticket_ = 1;
  int64_t runs_ = 0;  // that have begun
  std::map<GroupId, std::unique_ptr<Group>> groups_;
  bool had_groups_ = false;
  std::vector<GroupDescription> layouts_;  // no two HaveEqualDemand
  std::map<TicketId, std::unique_ptr<Ticket>> tickets_;
  TicketQueue queue_;
  // What a walk over the queue has to look at: the rest would be decided as before.
  std::vector<Ticket*> fresh_;  // in the queue, and not tried yet
  std::set<GroupId> touched_;
  bool homes_changed_ = false;
  std::set<std::pair<Clock::Time, TicketId>> due_;  // of tickets that are due at all

  int64_t largest_[2] = {0, 0};  // context that some group could hold, without and with logits of the prompt
  int64_t home_[2] = {0, 0};     // the same, of groups that do not drain
  ServiceRates usual_ = UsualRates({});
  double output_share_ = 1;  // of its max_tokens that a request comes to, of late
};

}  // namespace longspan
