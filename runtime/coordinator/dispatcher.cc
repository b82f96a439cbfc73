#include "runtime/coordinator/dispatcher.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"
#include "runtime/engine/admission.h"

namespace longspan {
namespace {

// Of the queue that are looked at in one decision: bounds what a long queue costs.
constexpr size_t kLookahead = 64;

constexpr double kShareMemory = 0.95;

Clock::Time Later(Clock::Time now, double seconds) {
  constexpr double kMostSeconds = 1e9;
  return now + FromSeconds(std::min(seconds, kMostSeconds));
}

}  // namespace

std::string_view Name(Decision::Kind kind) {
  switch (kind) {
    case Decision::Kind::kStart:
      return "start";
    case Decision::Kind::kPreempt:
      return "preempt";
    case Decision::Kind::kExpire:
      return "expire";
    case Decision::Kind::kFail:
      return "fail";
  }
  LONGSPAN_CHECK(!"a decision that does not exist");
  return {};
}

int64_t Dispatcher::Ticket::AgedPriorityAt(Clock::Time now) const {
  return AgedPriority(demand.priority, group != 0 ? waited : waited + (now - queued_at), preemptions);
}

void Dispatcher::AddGroup(GroupId group, GroupDescription description) {
  const bool is_new = groups_.emplace(group, std::make_unique<Group>(std::move(description))).second;
  LONGSPAN_CHECK(is_new);
}

void Dispatcher::RemoveGroup(GroupId group, Clock::Time now) {
  Group& lost = *groups_.at(group);
  while (!lost.tickets.empty()) {
    Ticket& ticket = *lost.tickets.begin()->second;
    StopRunning(ticket);
    ++ticket.losses;
    Wait(ticket, now);
  }
  if (future_ && future_->group == group) future_.reset();
  groups_.erase(group);
}

void Dispatcher::DrainGroup(GroupId group) {
  groups_.at(group)->draining = true;
  if (future_ && future_->group == group) future_.reset();
}

void Dispatcher::SetLoad(GroupId id, const GroupLoad& load) {
  Group& group = *groups_.at(id);
  group.measured = {load.prefill_tokens_per_s, load.decode_step_s};
  for (const GroupLoad::Progress& progress : load.running) {
    const auto it = group.tickets.find(progress.ticket);
    if (it == group.tickets.end()) continue;
    it->second->computed_tokens = progress.computed_tokens;
    it->second->output_tokens = progress.output_tokens;
  }
  group.prefill_tokens_left = 0;
  for (const auto& [ticket_id, ticket] : group.tickets) group.prefill_tokens_left += PrefillLeft(*ticket);
  for (const auto& [priority, tickets] : waiting_) {
    for (const auto& [ticket_id, ticket] : tickets) {
      if (ticket->refused_by == id) ticket->refused_by = 0;
    }
  }
}

absl::Status Dispatcher::Admits() const {
  if (groups_.empty()) return absl::UnavailableError("no group has joined yet: try again later");
  if (waiting_count_ < options_.max_waiting) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the queue is full with ", waiting_count_, " requests: try again later"));
}

absl::StatusOr<TicketId> Dispatcher::Submit(const Demand& demand, Clock::Time now) {
  if (absl::Status status = Admits(); !status.ok()) return status;
  if (waiting_count_ > 0 && waiting_prompt_tokens_ > options_.max_waiting_tokens - demand.prompt_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full with prompts of ", waiting_prompt_tokens_, " tokens and takes ",
        options_.max_waiting_tokens, "; this one has ", demand.prompt_tokens, ": try again later"));
  }
  int64_t largest = 0;
  for (const auto& [id, group] : groups_) {
    if (group->runs_whole_requests())
      largest = std::max(largest, group->LargestContext(demand.prompt_logits));
  }
  if (demand.prompt_tokens + demand.max_tokens > largest) {
    const int64_t output = largest - demand.prompt_tokens;
    return absl::InvalidArgumentError(
        absl::StrCat("a prompt of ", demand.prompt_tokens, " tokens and an output of ", demand.max_tokens,
                     " do not fit: the largest group holds contexts of ", largest, " tokens",
                     output > 0 ? absl::StrCat(", so that the output could have ", output) : std::string()));
  }
  auto ticket = std::make_unique<Ticket>();
  ticket->id = next_ticket_++;
  ticket->demand = demand;
  Wait(*ticket, now);
  const TicketId id = ticket->id;
  tickets_.emplace(id, std::move(ticket));
  return id;
}

void Dispatcher::End(TicketId id, std::optional<int64_t> output_tokens) {
  const auto it = tickets_.find(id);
  if (it == tickets_.end()) return;
  Ticket& ticket = *it->second;
  if (output_tokens && ticket.demand.max_tokens > 0) {
    const double share = static_cast<double>(*output_tokens) / static_cast<double>(ticket.demand.max_tokens);
    output_share_ = kShareMemory * output_share_ + (1 - kShareMemory) * share;
  }
  if (ticket.group != 0) {
    StopRunning(ticket);
  } else {
    TakeFromQueue(ticket);
  }
  if (future_ && future_->ticket == id) future_.reset();
  tickets_.erase(it);
}

void Dispatcher::Refused(TicketId id, Clock::Time now) {
  const auto it = tickets_.find(id);
  if (it == tickets_.end() || it->second->group == 0) return;
  Ticket& ticket = *it->second;
  ticket.refused_by = ticket.group;
  StopRunning(ticket);
  Wait(ticket, now);
}

void Dispatcher::Wait(Ticket& ticket, Clock::Time now) {
  ticket.queued_at = now;
  ticket.homeless_since.reset();
  waiting_[ticket.demand.priority].emplace(ticket.id, &ticket);
  ++waiting_count_;
  waiting_prompt_tokens_ += ticket.demand.prompt_tokens;
}

void Dispatcher::TakeFromQueue(Ticket& ticket) {
  const auto same = waiting_.find(ticket.demand.priority);
  same->second.erase(ticket.id);
  if (same->second.empty()) waiting_.erase(same);
  --waiting_count_;
  waiting_prompt_tokens_ -= ticket.demand.prompt_tokens;
}

void Dispatcher::StopRunning(Ticket& ticket) {
  Group& group = *groups_.at(ticket.group);
  group.prefill_tokens_left -= PrefillLeft(ticket);
  group.store.Release(ticket.reserved);
  --group.running;
  group.tickets.erase(ticket.id);
  ticket.reserved.clear();
  ticket.group = 0;
  ticket.computed_tokens = 0;
}

// A class of equal priority goes by arrival; the class whose first request counts most goes first.
std::vector<Dispatcher::Ticket*> Dispatcher::Order(Clock::Time now) const {
  std::vector<const WaitingClass*> classes;
  for (const auto& [priority, tickets] : waiting_) classes.push_back(&tickets);
  std::stable_sort(classes.begin(), classes.end(), [now](const WaitingClass* a, const WaitingClass* b) {
    return a->begin()->second->AgedPriorityAt(now) > b->begin()->second->AgedPriorityAt(now);
  });
  std::vector<Ticket*> order;
  for (const WaitingClass* tickets : classes) {
    for (const auto& [id, ticket] : *tickets) {
      if (order.size() == kLookahead) return order;
      order.push_back(ticket);
    }
  }
  return order;
}

std::vector<Decision> Dispatcher::Decide(Clock::Time now) {
  std::vector<Decision> decisions;
  next_event_ = Clock::Time::max();
  EndOverdue(now, &decisions);
  bool behind = false;
  for (Ticket* ticket : Order(now)) {
    if (TryStart(*ticket, behind, now, &decisions)) continue;
    // What a preemption takes from its group is looked at next time: it has no more right than those here.
    if (TryPreempt(*ticket, now, &decisions)) continue;
    if (behind) continue;
    // The first that fits nowhere: those behind it go before it only where it need not wait for them.
    behind = true;
    if (!future_ || future_->ticket != ticket->id) KeepRoomFor(*ticket, now);
  }
  return decisions;
}

void Dispatcher::EndOverdue(Clock::Time now, std::vector<Decision>* decisions) {
  std::vector<Decision> ends;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket->demand.deadline && *ticket->demand.deadline <= now) {
      ends.push_back({.kind = Decision::Kind::kExpire, .ticket = id, .group = ticket->group, .reason = {}});
      continue;
    }
    if (ticket->demand.deadline) next_event_ = std::min(next_event_, *ticket->demand.deadline);
    if (ticket->group != 0) continue;
    if (ticket->losses >= options_.max_losses) {
      ends.push_back({.kind = Decision::Kind::kFail,
                      .ticket = id,
                      .reason = absl::StrCat(ticket->losses,
                                             " groups were lost while they ran this request; it is not tried "
                                             "a further time")});
      continue;
    }
    const bool has_home = std::any_of(
        groups_.begin(), groups_.end(),
        [this, &ticket = *ticket](const auto& entry) { return CouldHold(*entry.second, ticket); });
    if (has_home) {
      ticket->homeless_since.reset();
      continue;
    }
    if (!ticket->homeless_since) ticket->homeless_since = now;
    const Clock::Time end = *ticket->homeless_since + options_.homeless_timeout;
    if (end <= now) {
      ends.push_back({.kind = Decision::Kind::kFail,
                      .ticket = id,
                      .reason = absl::StrCat("no group that could hold its ", ticket->total_tokens(),
                                             " tokens has been there for ",
                                             ToSeconds(options_.homeless_timeout), " s")});
    } else {
      next_event_ = std::min(next_event_, end);
    }
  }
  for (Decision& end : ends) {
    End(end.ticket, std::nullopt);
    decisions->push_back(std::move(end));
  }
}

bool Dispatcher::CouldHold(const Group& group, const Ticket& ticket) const {
  return !group.draining && group.runs_whole_requests() &&
         ticket.total_tokens() <= group.LargestContext(ticket.demand.prompt_logits);
}

bool Dispatcher::TryStart(Ticket& ticket, bool behind, Clock::Time now, std::vector<Decision>* decisions) {
  const ServiceRates usual = UsualRates();
  const int64_t prefill_tokens = ticket.demand.prompt_tokens + ticket.output_tokens;
  std::optional<Placement> best;
  for (const auto& [id, group] : groups_) {
    if (ticket.refused_by == id) continue;
    if (behind && future_ && future_->group == id && !EndsBefore(ticket, *group, now, future_->at)) continue;
    const std::optional<Placement> offer =
        Offer(id, *group, group->Need(ticket.total_tokens(), ticket.demand.prompt_logits), prefill_tokens,
              group->Rates(usual));
    if (offer && (!best || IsBetter(*offer, *best))) best = offer;
  }
  if (!best) return false;
  Start(ticket, *best, now, decisions);
  return true;
}

// Its whole output counts, whatever others have come to.
bool Dispatcher::EndsBefore(const Ticket& ticket, const Group& group, Clock::Time now, Clock::Time at) const {
  const ServiceRates rates = group.Rates(UsualRates());
  const auto prefill_tokens =
      static_cast<double>(group.prefill_tokens_left + ticket.demand.prompt_tokens + ticket.output_tokens);
  const auto output_tokens = static_cast<double>(ticket.demand.max_tokens - ticket.output_tokens);
  return Later(now, prefill_tokens / rates.prefill_tokens_per_s + output_tokens * rates.decode_step_s) <= at;
}

void Dispatcher::Start(Ticket& ticket, const Placement& placement, Clock::Time now,
                       std::vector<Decision>* decisions) {
  TakeFromQueue(ticket);
  if (future_ && future_->ticket == ticket.id) future_.reset();
  Group& group = *groups_.at(placement.group);
  ticket.waited += now - ticket.queued_at;
  ticket.group = placement.group;
  ticket.prefill_tokens = ticket.demand.prompt_tokens + ticket.output_tokens;
  ticket.reserved =
      group.store.Reserve(group.Need(ticket.total_tokens(), ticket.demand.prompt_logits), placement.shift);
  ++group.running;
  group.tickets.emplace(ticket.id, &ticket);
  group.prefill_tokens_left += PrefillLeft(ticket);
  decisions->push_back(
      {.kind = Decision::Kind::kStart,
       .ticket = ticket.id,
       .group = placement.group,
       .shift = placement.shift,
       .reason = absl::StrFormat("first token expected in %.3f s, %.0f %% full afterwards",
                                 placement.expected_first_token_s, 100 * placement.fullness)});
}

bool Dispatcher::TryPreempt(Ticket& ticket, Clock::Time now, std::vector<Decision>* decisions) {
  std::vector<TicketId> fewest;
  GroupId from = 0;
  for (const auto& [id, group] : groups_) {
    if (ticket.refused_by == id || !CouldHold(*group, ticket)) continue;
    std::vector<TicketId> ids;
    std::vector<VictimView> views;
    for (const auto& [other_id, other] : group->tickets) {
      ids.push_back(other_id);
      views.push_back({other->AgedPriorityAt(now), other->computed_tokens, other->reserved});
    }
    const std::vector<size_t> victims =
        ChooseVictims(ticket.demand.priority, group->Need(ticket.total_tokens(), ticket.demand.prompt_logits),
                      group->store, static_cast<int>(group->free_slots()), views);
    if (victims.empty() || (from != 0 && victims.size() >= fewest.size())) continue;
    from = id;
    fewest.clear();
    for (const size_t victim : victims) fewest.push_back(ids[victim]);
  }
  if (from == 0) return false;
  for (const TicketId id : fewest) {
    Ticket& victim = *tickets_.at(id);
    StopRunning(victim);
    ++victim.preemptions;
    Wait(victim, now);
    decisions->push_back({.kind = Decision::Kind::kPreempt,
                          .ticket = id,
                          .group = from,
                          .reason = absl::StrCat("request ", ticket.id, " has a higher priority")});
  }
  LONGSPAN_CHECK(TryStart(ticket, /*behind=*/false, now, decisions));
  return true;
}

void Dispatcher::KeepRoomFor(Ticket& ticket, Clock::Time now) {
  future_.reset();
  for (const auto& [id, group] : groups_) {
    if (!CouldHold(*group, ticket)) continue;
    const Clock::Time at = Later(now, ForecastOf(*group).RoomFor(WorkOf(ticket, *group).pages));
    if (!future_ || at < future_->at) future_ = {.ticket = ticket.id, .group = id, .at = at};
  }
}

double Dispatcher::ExpectedWait() const {
  int64_t requests = waiting_count_ + 1 - options_.max_waiting;  // that have to start before there is room
  if (requests <= 0) return 0;
  std::map<GroupId, Forecast> forecasts;
  for (const auto& [id, group] : groups_) {
    if (!group->draining && group->runs_whole_requests()) forecasts.emplace(id, ForecastOf(*group));
  }
  double wait_s = 0;
  for (const auto& [priority, tickets] : waiting_) {
    for (const auto& [id, ticket] : tickets) {
      if (requests-- <= 0) return wait_s;
      std::pair<double, GroupId> first = {std::numeric_limits<double>::infinity(), 0};
      for (const auto& [group_id, forecast] : forecasts) {
        const Group& group = *groups_.at(group_id);
        if (!CouldHold(group, *ticket)) continue;
        first = std::min(first, {forecast.RoomFor(WorkOf(*ticket, group).pages), group_id});
      }
      if (first.second == 0) continue;
      wait_s = std::max(wait_s, forecasts.at(first.second).Start(WorkOf(*ticket, *groups_.at(first.second))));
    }
  }
  return wait_s;
}

int64_t Dispatcher::LargestContext() const {
  int64_t largest = 0;
  for (const auto& [id, group] : groups_) {
    if (group->runs_whole_requests()) largest = std::max(largest, group->LargestContext(false));
  }
  return largest;
}

ServiceRates Dispatcher::UsualRates() const {
  std::vector<ServiceRates> measured;
  for (const auto& [id, group] : groups_) measured.push_back(group->measured);
  return longspan::UsualRates(measured);
}

Forecast Dispatcher::ForecastOf(const Group& group) const {
  std::vector<RemainingWork> running;
  for (const auto& [id, ticket] : group.tickets) running.push_back(WorkOf(*ticket, group));
  return Forecast(running, {group.free_slots(), group.store.headroom()}, group.Rates(UsualRates()));
}

int64_t Dispatcher::PrefillLeft(const Ticket& ticket) const {
  const int64_t tokens =
      ticket.group != 0 ? ticket.prefill_tokens : ticket.demand.prompt_tokens + ticket.output_tokens;
  return std::max<int64_t>(0, tokens - ticket.computed_tokens);
}

RemainingWork Dispatcher::WorkOf(const Ticket& ticket, const Group& group) const {
  RemainingWork work;
  work.prefill_tokens = PrefillLeft(ticket);
  work.output_tokens = std::max(0.0, output_share_ * static_cast<double>(ticket.demand.max_tokens) -
                                         static_cast<double>(ticket.output_tokens));
  const std::vector<int64_t> pages =
      ticket.group != 0
          ? ticket.reserved
          : KvDemand(group.store.geometry(), group.Need(ticket.total_tokens(), ticket.demand.prompt_logits),
                     /*shift=*/0);
  work.pages = *std::max_element(pages.begin(), pages.end());
  return work;
}

}  // namespace longspan
