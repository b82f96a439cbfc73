#include "runtime/coordinator/dispatcher.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

// Of the queue that are looked at to say how long it takes until there is room in it.
constexpr size_t kForecastAhead = 64;

constexpr double kShareMemory = 0.95;

double Measured(double rate) { return std::isfinite(rate) && rate > 0 ? rate : 0; }

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

void Dispatcher::AddGroup(GroupId id, GroupDescription description) {
  const auto [it, is_new] = groups_.emplace(id, std::make_unique<Group>(id, std::move(description)));
  LONGSPAN_CHECK(is_new);
  had_groups_ = true;
  Group& group = *it->second;
  while (group.layout < layouts_.size() && !HaveEqualDemand(layouts_[group.layout], group.description)) {
    ++group.layout;
  }
  if (group.layout == layouts_.size()) layouts_.push_back(group.description);
  OnGroupsChanged();
  Touch(group);
}

void Dispatcher::RemoveGroup(GroupId id, Clock::Time now) {
  Group& lost = *groups_.at(id);
  while (!lost.tickets.empty()) {
    Ticket& ticket = *lost.tickets.begin()->second;
    StopRunning(ticket);
    ++ticket.losses;
    Wait(ticket, now);
  }
  if (lost.future) DropFuture(*lost.future->ticket);
  touched_.erase(id);
  groups_.erase(id);
  OnGroupsChanged();
}

bool Dispatcher::DrainGroup(GroupId id) {
  Group& group = *groups_.at(id);
  if (group.draining) return false;
  group.draining = true;
  ForgetRoom(group);
  if (group.future) DropFuture(*group.future->ticket);
  OnGroupsChanged();
  return true;
}

void Dispatcher::OnGroupsChanged() {
  std::vector<ServiceRates> measured;
  for (const bool prompt_logits : {false, true}) largest_[prompt_logits] = home_[prompt_logits] = 0;
  for (const auto& [id, group] : groups_) {
    measured.push_back(group->measured);
    if (!group->runs_whole_requests()) continue;
    for (const bool prompt_logits : {false, true}) {
      const int64_t largest = group->LargestContext(prompt_logits);
      largest_[prompt_logits] = std::max(largest_[prompt_logits], largest);
      if (!group->draining) home_[prompt_logits] = std::max(home_[prompt_logits], largest);
    }
  }
  usual_ = UsualRates(measured);
  homes_changed_ = queue_.size() > 0;
}

bool Dispatcher::SetLoad(GroupId id, const GroupLoad& load) {
  Group& group = *groups_.at(id);
  bool is_news = group.has_refused;
  const ServiceRates measured = {Measured(load.prefill_tokens_per_s), Measured(load.decode_step_s)};
  if (measured.prefill_tokens_per_s != group.measured.prefill_tokens_per_s ||
      measured.decode_step_s != group.measured.decode_step_s) {
    is_news = true;
    group.measured = measured;
    std::vector<ServiceRates> all;
    for (const auto& [other_id, other] : groups_) all.push_back(other->measured);
    usual_ = UsualRates(all);
  }
  for (const GroupLoad::Progress& progress : load.running) {
    const auto it = group.tickets.find(progress.ticket);
    if (it == group.tickets.end()) continue;
    Ticket& ticket = *it->second;
    const bool has_prompt = ticket.prefill_group == (ticket.group == id ? 0 : id);
    const int64_t computed_tokens =
        has_prompt ? std::max<int64_t>(0, progress.computed_tokens) : ticket.computed_tokens;
    const int64_t output_tokens =
        ticket.group == id ? std::clamp<int64_t>(progress.output_tokens, 0, ticket.demand.max_tokens)
                           : ticket.output_tokens;
    if (computed_tokens == ticket.computed_tokens && output_tokens == ticket.output_tokens) continue;
    is_news = true;
    const int64_t left = PrefillLeft(ticket);
    ticket.computed_tokens = computed_tokens;
    ticket.output_tokens = output_tokens;
    if (has_prompt) group.prefill_tokens_left += PrefillLeft(ticket) - left;
  }
  if (!is_news) return false;
  ++group.loads;
  group.has_refused = false;
  Touch(group);
  return true;
}

absl::Status Dispatcher::Admits() const {
  if (largest_[0] == 0) {
    return absl::UnavailableError(absl::StrCat(!groups_.empty() ? "only prefill groups are there"
                                               : had_groups_    ? "no group is left"
                                                                : "no group has joined yet",
                                               ": try again later"));
  }
  if (waiting() < options_.max_waiting) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the queue is full with ", waiting(), " requests: try again later"));
}

absl::StatusOr<TicketId> Dispatcher::Submit(const Demand& demand, Clock::Time now) {
  absl::Status admits = Admits();
  if (absl::IsUnavailable(admits)) return admits;
  // That it never fits says more than that the queue is full.
  const int64_t largest = largest_[demand.prompt_logits];
  if (demand.total_tokens() > largest) {
    const int64_t output = largest - demand.prompt_tokens;
    return absl::InvalidArgumentError(
        absl::StrCat("a prompt of ", demand.prompt_tokens, " tokens and an output of ", demand.max_tokens,
                     " do not fit: the largest group holds contexts of ", largest, " tokens",
                     output > 0 ? absl::StrCat(", so that the output could have ", output) : std::string()));
  }
  if (!admits.ok()) return admits;
  if (waiting() > 0 && waiting_prompt_tokens() > options_.max_waiting_tokens - demand.prompt_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full with prompts of ", waiting_prompt_tokens(), " tokens and takes ",
        options_.max_waiting_tokens, "; this one has ", demand.prompt_tokens, ": try again later"));
  }
  auto ticket = std::make_unique<Ticket>();
  const TicketId id = ticket->id = next_ticket_++;
  ticket->demand = demand;
  Wait(*tickets_.emplace(id, std::move(ticket)).first->second, now);
  return id;
}

bool Dispatcher::End(TicketId id, std::optional<int64_t> output_tokens) {
  const auto it = tickets_.find(id);
  if (it == tickets_.end()) return false;
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
  due_.erase({ticket.due, id});
  tickets_.erase(it);
  return true;
}

bool Dispatcher::Refused(TicketId id, Clock::Time now) {
  const auto it = tickets_.find(id);
  if (it == tickets_.end() || it->second->group == 0) return false;
  Ticket& ticket = *it->second;
  for (const GroupId group_id : {ticket.group, ticket.prefill_group}) {
    if (group_id == 0) continue;
    Group& group = *groups_.at(group_id);
    group.has_refused = true;
    std::erase_if(ticket.refusals, [&group](const auto& refusal) { return refusal.group == group.id; });
    ticket.refusals.push_back({group.id, group.loads});
  }
  StopRunning(ticket);
  Wait(ticket, now);
  return true;
}

bool Dispatcher::Prefilled(TicketId id) {
  const auto it = tickets_.find(id);
  if (it == tickets_.end() || it->second->prefill_group == 0) return false;
  Ticket& ticket = *it->second;
  StopPrefill(ticket);
  // Its group says so where that is not true.
  ticket.computed_tokens = ticket.prefill_tokens;
  return true;
}

void Dispatcher::Wait(Ticket& ticket, Clock::Time now) {
  ticket.queued_at = now;
  ticket.tried = false;
  queue_.Push(ticket);
  fresh_.push_back(&ticket);
  FindHome(ticket, now);
}

void Dispatcher::TakeFromQueue(Ticket& ticket) {
  DropFuture(ticket);
  queue_.Take(ticket);
  std::erase(fresh_, &ticket);
}

void Dispatcher::StopRunning(Ticket& ticket) {
  Group& group = *groups_.at(ticket.group);
  if (ticket.prefill_group != 0) {
    StopPrefill(ticket);
  } else {
    group.prefill_tokens_left -= PrefillLeft(ticket);
  }
  group.store.Release(ticket.reserved);
  --group.running;
  group.tickets.erase(ticket.id);
  ticket.reserved.clear();
  ticket.group = 0;
  ticket.computed_tokens = 0;
  ForgetRoom(group);
  Touch(group);
}

void Dispatcher::StopPrefill(Ticket& ticket) {
  Group& group = *groups_.at(ticket.prefill_group);
  group.prefill_tokens_left -= PrefillLeft(ticket);
  group.store.Release(ticket.prefill_reserved);
  --group.running;
  group.tickets.erase(ticket.id);
  ticket.prefill_reserved.clear();
  ticket.prefill_group = 0;
}

void Dispatcher::ForgetRoom(Group& group) {
  group.room[0] = group.room[1] = group.lowest_priority = std::nullopt;
  group.room_by_preemption.clear();
}

void Dispatcher::DropFuture(Ticket& ticket) {
  if (ticket.kept_room_on == 0) return;
  Group& group = *groups_.at(ticket.kept_room_on);
  group.future.reset();
  ticket.kept_room_on = 0;
  Touch(group);
}

void Dispatcher::Touch(Group& group) {
  // Nobody waits for room on a prefill group.
  if (!group.runs_whole_requests()) return;
  if (queue_.size() > static_cast<int64_t>(fresh_.size())) touched_.insert(group.id);
}

void Dispatcher::FindHome(Ticket& ticket, Clock::Time now) {
  const bool has_home = ticket.demand.total_tokens() <= home_[ticket.demand.prompt_logits];
  if (has_home) {
    ticket.homeless_since.reset();
  } else if (!ticket.homeless_since) {
    ticket.homeless_since = now;
  }
  Schedule(ticket);
}

void Dispatcher::Schedule(Ticket& ticket) {
  Clock::Time due = ticket.demand.deadline.value_or(Clock::Time::max());
  if (ticket.group == 0 && ticket.losses >= options_.max_losses) due = std::min(due, ticket.queued_at);
  if (ticket.homeless_since) due = std::min(due, *ticket.homeless_since + options_.homeless_timeout);
  if (due == ticket.due) return;
  due_.erase({ticket.due, ticket.id});
  ticket.due = due;
  if (due != Clock::Time::max()) due_.emplace(due, ticket.id);
}

Clock::Time Dispatcher::next_event() const {
  if (homes_changed_ || !fresh_.empty() || !touched_.empty()) return Clock::Time::min();
  return due_.empty() ? Clock::Time::max() : due_.begin()->first;
}

bool Dispatcher::CouldHold(const Group& group, const Ticket& ticket) const {
  return !group.draining && group.runs_whole_requests() &&
         ticket.demand.total_tokens() <= group.LargestContext(ticket.demand.prompt_logits);
}

double Dispatcher::ExpectedWait(int64_t prompt_tokens) const {
  int64_t requests = waiting(), tokens = waiting_prompt_tokens();
  const auto has_room = [&] {
    return requests < options_.max_waiting &&
           (requests == 0 || tokens <= options_.max_waiting_tokens - prompt_tokens);
  };
  if (has_room()) return 0;
  std::vector<std::pair<const Group*, Forecast>> forecasts;
  for (const auto& [id, group] : groups_) {
    if (!group->draining && group->runs_whole_requests()) {
      forecasts.emplace_back(group.get(), ForecastOf(*group, runs_));
    }
  }
  std::vector<std::pair<double, int64_t>> starts;   // seconds, tokens of the prompt
  std::vector<std::optional<RemainingWork>> works;  // by layout
  queue_.ForEachClass([&](int, std::span<const TicketQueue::Entry> entries) {
    for (const TicketQueue::Entry& entry : entries) {
      if (starts.size() == kForecastAhead) return;
      works.assign(layouts_.size(), std::nullopt);
      std::pair<const Group*, Forecast>* first = nullptr;
      double first_s = 0;
      for (auto& candidate : forecasts) {
        const Group& group = *candidate.first;
        if (!CouldHold(group, *entry.ticket)) continue;
        // Those behind it go by where its room is kept.
        if (entry.ticket->kept_room_on != 0 && entry.ticket->kept_room_on != group.id) continue;
        std::optional<RemainingWork>& work = works[group.layout];
        if (!work) work = WorkOf(*entry.ticket, group);
        const double room_s = candidate.second.RoomFor(work->pages);
        if (first != nullptr && room_s >= first_s) continue;
        first = &candidate;
        first_s = room_s;
      }
      if (first == nullptr) continue;
      first->second.Start(*works[first->first->layout]);
      starts.emplace_back(first_s, entry.ticket->demand.prompt_tokens);
    }
  });
  // Those behind may start first, elsewhere.
  std::sort(starts.begin(), starts.end());
  for (const auto& [start_s, started_tokens] : starts) {
    --requests;
    tokens -= started_tokens;
    if (has_room()) return start_s;
  }
  return starts.empty() ? 0 : starts.back().first;
}

// Of those among the first `runs` runs; the others count as if they were not there.
Forecast Dispatcher::ForecastOf(const Group& group, int64_t runs) const {
  std::vector<RemainingWork> running;
  FreeCapacity free = {group.free_slots(), group.store.headroom()};
  for (const auto& [id, ticket] : group.tickets) {
    const RemainingWork work = WorkOf(*ticket, group);
    if (ticket->run <= runs) {
      running.push_back(work);
    } else {
      ++free.slots;
      free.pages += work.pages;
    }
  }
  return Forecast(running, free, group.Rates(usual_));
}

int64_t Dispatcher::PrefillLeft(const Ticket& ticket) const {
  const int64_t tokens = ticket.group != 0 ? ticket.prefill_tokens : PrefillTokens(ticket);
  return std::max<int64_t>(0, tokens - ticket.computed_tokens);
}

RemainingWork Dispatcher::WorkOf(const Ticket& ticket, const Group& group) const {
  RemainingWork work;
  work.prefill_tokens = ticket.prefill_group == 0 ? PrefillLeft(ticket) : 0;
  work.output_tokens = output_share_ * static_cast<double>(ticket.demand.max_tokens - ticket.output_tokens);
  work.pages = ticket.most_reserved;
  if (ticket.group == 0) {
    const std::vector<int64_t> pages =
        KvDemand(group.store.geometry(),
                 group.Need(ticket.demand.total_tokens(), ticket.demand.prompt_logits), /*shift=*/0);
    work.pages = *std::max_element(pages.begin(), pages.end());
  }
  return work;
}

}  // namespace longspan
