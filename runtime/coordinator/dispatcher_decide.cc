#include <algorithm>
#include <iterator>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"
#include "runtime/coordinator/dispatcher.h"
#include "runtime/engine/admission.h"

namespace longspan {
namespace {

// Whoever goes before one that room is kept for, without having to wait for it, ends within this time: of
// estimates, so that it puts the other off by little even where they are wrong.
constexpr double kLongestBackfillS = 5;

// Groups whose loss by a preemption is compared: bounds what one costs.
constexpr size_t kPreemptionsCompared = 16;

Clock::Time Later(Clock::Time now, double seconds) {
  constexpr double kMostSeconds = 1e9;
  return now + FromSeconds(std::min(seconds, kMostSeconds));
}

}  // namespace

struct Dispatcher::Walk {
  Clock::Time now;
  std::vector<Decision>* decisions = nullptr;
  std::vector<Group*> groups;   // all
  std::vector<Group*> touched;  // those that may have room for tickets that were tried
  int64_t open[2] = {0, 0};     // the largest context of a group where room is kept for nobody
  // Somebody has left a group or a place that was kept, which those that come next have not seen.
  bool is_stale = false;

  void FindOpen() {
    open[0] = open[1] = 0;
    for (const Group* group : groups) {
      if (group->future || group->draining || !group->runs_whole_requests()) continue;
      for (const bool logits : {false, true})
        open[logits] = std::max(open[logits], group->LargestContext(logits));
    }
  }
};

std::vector<Decision> Dispatcher::Decide(Clock::Time now) {
  std::vector<Decision> decisions;
  bool goes_on = std::exchange(homes_changed_, false);
  if (goes_on) {
    queue_.ForEachClass([this, now](int, std::span<const TicketQueue::Entry> entries) {
      for (const TicketQueue::Entry& entry : entries) FindHome(*entry.ticket, now);
    });
  }
  EndOverdue(now, &decisions);
  // Again for those that were preempted, and where room was kept that is not needed any more.
  while (goes_on || !fresh_.empty() || !touched_.empty()) {
    goes_on = false;
    GoThroughQueue(now, &decisions);
  }
  return decisions;
}

void Dispatcher::EndOverdue(Clock::Time now, std::vector<Decision>* decisions) {
  while (!due_.empty() && due_.begin()->first <= now) {
    const Ticket& ticket = *tickets_.at(due_.begin()->second);
    Decision& end = decisions->emplace_back();
    end.kind = Decision::Kind::kFail;
    end.ticket = ticket.id;
    end.group = ticket.group;
    if (ticket.demand.deadline && *ticket.demand.deadline <= now) {
      end.kind = Decision::Kind::kExpire;
      end.reason = "its deadline has passed";
    } else if (ticket.losses >= options_.max_losses) {
      end.reason = absl::StrCat(
          ticket.losses, " groups were lost while they ran this request; it is not tried a further time");
    } else {
      end.reason = absl::StrCat("no group that could hold its ", ticket.demand.total_tokens(),
                                " tokens has been there for ", ToSeconds(options_.homeless_timeout), " s");
    }
    End(ticket.id, std::nullopt);
  }
}

void Dispatcher::GoThroughQueue(Clock::Time now, std::vector<Decision>* decisions) {
  Walk walk;
  walk.now = now;
  walk.decisions = decisions;
  queue_.Sort(now);
  for (const auto& [id, group] : groups_) {
    walk.groups.push_back(group.get());
    if (touched_.contains(id)) walk.touched.push_back(group.get());
  }
  touched_.clear();
  for (Group* group : walk.touched) {
    if (group->future) group->future->at = RoomAt(*group, *group->future->ticket, group->future->runs, now);
  }
  walk.FindOpen();
  const std::vector<Ticket*> candidates = Candidates(walk, std::exchange(fresh_, {}));
  for (size_t i = 0; i < candidates.size(); ++i) {
    Ticket& ticket = *candidates[i];
    if (ticket.homeless_since) continue;
    const Groups groups = ticket.tried ? walk.touched : walk.groups;
    const bool is_open =
        !ticket.tried || ticket.demand.total_tokens() <= walk.open[ticket.demand.prompt_logits];
    ticket.tried = true;
    const bool starts = TryStart(ticket, groups, walk) || TryPreempt(ticket, groups, walk);
    if (!starts && is_open && ticket.kept_room_on == 0) KeepRoomFor(ticket, walk);
    if (!walk.is_stale) continue;
    for (const Group* group : walk.touched) touched_.insert(group->id);
    std::copy_if(candidates.begin() + static_cast<std::ptrdiff_t>(i) + 1, candidates.end(),
                 std::back_inserter(fresh_), [](const Ticket* rest) { return !rest->tried; });
    return;
  }
}

// In order: the fresh ones, and those that something may have changed for.
std::vector<Ticket*> Dispatcher::Candidates(const Walk& walk, std::vector<Ticket*> fresh) const {
  int64_t most[2] = {walk.open[0], walk.open[1]};
  for (Group* group : walk.touched) {
    for (const bool logits : {false, true}) most[logits] = std::max(most[logits], Room(*group, logits));
  }
  std::vector<Ticket*> changed;
  queue_.ForEachClass([&](int priority, std::span<const TicketQueue::Entry> entries) {
    std::optional<int64_t> most_of_class[2];
    for (const auto& [total_tokens, prompt_logits, ticket] : entries) {
      std::optional<int64_t>& fits = most_of_class[prompt_logits];
      if (!fits) {
        fits = most[prompt_logits];
        for (Group* group : walk.touched) {
          if (LowestPriority(*group) >= priority) continue;
          fits = std::max(*fits, RoomByPreemption(*group, priority, prompt_logits));
        }
      }
      if (total_tokens <= *fits) changed.push_back(ticket);
    }
  });
  if (fresh.empty()) return changed;
  const auto before = [this](const Ticket* a, const Ticket* b) { return queue_.Before(*a, *b); };
  std::sort(fresh.begin(), fresh.end(), before);
  std::vector<Ticket*> candidates;
  candidates.reserve(changed.size() + fresh.size());
  std::set_union(changed.begin(), changed.end(), fresh.begin(), fresh.end(), std::back_inserter(candidates),
                 before);
  return candidates;
}

bool Dispatcher::TryStart(Ticket& ticket, Groups groups, Walk& walk) {
  const int64_t total_tokens = ticket.demand.total_tokens();
  const int64_t prefill_tokens = ticket.demand.prompt_tokens + ticket.output_tokens;
  std::optional<Placement> best;
  for (Group* group : groups) {
    const std::optional<int64_t>& room = group->room[ticket.demand.prompt_logits];
    if (room && total_tokens > *room) continue;
    if (HasRefused(*group, ticket) || !MayUse(ticket, *group, walk.now)) continue;
    const std::optional<Placement> offer =
        Offer(group->id, *group, group->Need(total_tokens, ticket.demand.prompt_logits), prefill_tokens,
              group->Rates(usual_));
    if (offer && (!best || IsBetter(*offer, *best))) best = offer;
  }
  if (!best) return false;
  Start(ticket, *best, walk);
  return true;
}

void Dispatcher::Start(Ticket& ticket, const Placement& placement, Walk& walk) {
  Group& group = *groups_.at(placement.group);
  std::string reason = absl::StrFormat("first token expected in %.3f s, %.0f %% full afterwards",
                                       placement.expected_first_token_s, 100 * placement.fullness);
  if (IsBehind(ticket, group)) {
    absl::StrAppend(&reason, ", ends before there is room for request ", group.future->ticket->id);
  } else if (group.future) {
    // Its own, or that of one that comes after it and has to look for another.
    walk.is_stale = true;
    DropFuture(*group.future->ticket);
  }
  walk.is_stale = walk.is_stale || ticket.kept_room_on != 0;
  TakeFromQueue(ticket);
  ticket.waited += walk.now - ticket.queued_at;
  ticket.group = placement.group;
  ticket.run = ++runs_;
  ticket.prefill_tokens = ticket.demand.prompt_tokens + ticket.output_tokens;
  ticket.aged_priority = AgedPriority(ticket.demand.priority, ticket.waited, ticket.preemptions);
  ticket.reserved = group.store.Reserve(group.Need(ticket.demand.total_tokens(), ticket.demand.prompt_logits),
                                        placement.shift);
  ticket.most_reserved = *std::max_element(ticket.reserved.begin(), ticket.reserved.end());
  ++group.running;
  group.tickets.emplace(ticket.id, &ticket);
  group.prefill_tokens_left += PrefillLeft(ticket);
  const bool is_room_known[] = {group.room[0].has_value(), group.room[1].has_value()};
  ForgetRoom(group);
  // Others of this walk ask for it.
  for (const bool logits : {false, true}) {
    if (is_room_known[logits]) Room(group, logits);
  }
  walk.decisions->push_back({.kind = Decision::Kind::kStart,
                             .ticket = ticket.id,
                             .group = placement.group,
                             .shift = placement.shift,
                             .reason = std::move(reason)});
}

// Those of the lowest priority go; of equals the fewest, then those that lose least.
bool Dispatcher::TryPreempt(Ticket& ticket, Groups groups, Walk& walk) {
  std::vector<Group*> candidates;
  for (Group* group : groups) {
    if (LowestPriority(*group) >= ticket.demand.priority) continue;
    if (ticket.demand.total_tokens() >
        RoomByPreemption(*group, ticket.demand.priority, ticket.demand.prompt_logits))
      continue;
    if (HasRefused(*group, ticket) || !MayUse(ticket, *group, walk.now)) continue;
    candidates.push_back(group);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Group* a, const Group* b) { return *a->lowest_priority < *b->lowest_priority; });
  if (candidates.size() > kPreemptionsCompared) candidates.resize(kPreemptionsCompared);

  using Loss = std::tuple<int64_t, size_t, int64_t>;  // highest priority, requests, tokens to compute again
  std::optional<Loss> least;
  std::vector<Ticket*> chosen;
  Group* from = nullptr;
  for (Group* group : candidates) {
    std::vector<Ticket*> running;
    std::vector<VictimView> views;
    for (const auto& [id, other] : group->tickets) {
      running.push_back(other);
      views.push_back({other->aged_priority, other->computed_tokens, other->reserved});
    }
    const std::vector<size_t> victims = ChooseVictims(
        ticket.demand.priority, group->Need(ticket.demand.total_tokens(), ticket.demand.prompt_logits),
        group->store, static_cast<int>(group->free_slots()), views);
    if (victims.empty()) continue;
    Loss loss = {std::numeric_limits<int64_t>::min(), victims.size(), 0};
    for (const size_t victim : victims) {
      std::get<0>(loss) = std::max(std::get<0>(loss), views[victim].aged_priority);
      std::get<2>(loss) += views[victim].computed_tokens;
    }
    if (least && loss >= *least) continue;
    least = loss;
    from = group;
    chosen.clear();
    for (const size_t victim : victims) chosen.push_back(running[victim]);
  }
  if (from == nullptr) return false;
  walk.is_stale = true;
  for (Ticket* victim : chosen) {
    StopRunning(*victim);
    ++victim->preemptions;
    Wait(*victim, walk.now);
    walk.decisions->push_back({.kind = Decision::Kind::kPreempt,
                               .ticket = victim->id,
                               .group = from->id,
                               .reason = absl::StrCat("request ", ticket.id, " has a higher priority")});
  }
  const bool has_started = TryStart(ticket, {&from, 1}, walk);
  LONGSPAN_CHECK(has_started);
  return true;
}

// Of groups where room is kept for nobody, the one that has room first; or else that of the last of those
// that come after it.
void Dispatcher::KeepRoomFor(Ticket& ticket, Walk& walk) {
  Group* chosen = nullptr;
  Clock::Time at = Clock::Time::max();
  Group* taken = nullptr;
  for (Group* group : walk.groups) {
    if (!CouldHold(*group, ticket) || HasRefused(*group, ticket)) continue;
    if (group->future) {
      const Ticket& other = *group->future->ticket;
      if (!queue_.Before(ticket, other)) continue;
      if (taken == nullptr || queue_.Before(*taken->future->ticket, other)) taken = group;
    } else if (const Clock::Time room_at = RoomAt(*group, ticket, runs_, walk.now);
               chosen == nullptr || room_at < at) {
      chosen = group;
      at = room_at;
    }
  }
  if (chosen == nullptr) {
    if (taken == nullptr) return;
    chosen = taken;
    at = RoomAt(*chosen, ticket, runs_, walk.now);
    chosen->future->ticket->kept_room_on = 0;
  }
  chosen->future = {.ticket = &ticket, .at = at, .runs = runs_};
  ticket.kept_room_on = chosen->id;
  walk.FindOpen();
}

Clock::Time Dispatcher::RoomAt(const Group& group, const Ticket& ticket, int64_t runs,
                               Clock::Time now) const {
  return Later(now, ForecastOf(group, runs).RoomFor(WorkOf(ticket, group).pages));
}

bool Dispatcher::IsBehind(const Ticket& ticket, const Group& group) const {
  return group.future && group.future->ticket != &ticket && queue_.Before(*group.future->ticket, ticket);
}

// Who comes after one that room is kept for must end before that; its whole output counts, whatever others
// have come to.
bool Dispatcher::MayUse(const Ticket& ticket, const Group& group, Clock::Time now) const {
  if (!IsBehind(ticket, group)) return true;
  const ServiceRates rates = group.Rates(usual_);
  const auto prefill_tokens =
      static_cast<double>(group.prefill_tokens_left + ticket.demand.prompt_tokens + ticket.output_tokens);
  const auto output_tokens = static_cast<double>(ticket.demand.max_tokens - ticket.output_tokens);
  const double end_s = prefill_tokens / rates.prefill_tokens_per_s + output_tokens * rates.decode_step_s;
  return end_s <= kLongestBackfillS && Later(now, end_s) <= group.future->at;
}

bool Dispatcher::HasRefused(const Group& group, const Ticket& ticket) {
  return std::any_of(ticket.refusals.begin(), ticket.refusals.end(),
                     [&group](const Ticket::Refusal& refusal) {
                       return refusal.group == group.id && refusal.load == group.loads;
                     });
}

int64_t Dispatcher::Room(Group& group, bool prompt_logits) {
  std::optional<int64_t>& room = group.room[prompt_logits];
  if (!room) room = group.LargestContextNow(prompt_logits);
  return *room;
}

int64_t Dispatcher::RoomByPreemption(Group& group, int priority, bool prompt_logits) {
  const auto [it, is_new] = group.room_by_preemption.try_emplace({priority, prompt_logits}, 0);
  if (is_new) {
    std::vector<std::span<const int64_t>> victims;
    for (const auto& [id, ticket] : group.tickets) {
      if (ticket->aged_priority < priority) victims.emplace_back(ticket->reserved);
    }
    it->second = group.LargestContextNow(prompt_logits, victims);
  }
  return it->second;
}

int64_t Dispatcher::LowestPriority(Group& group) {
  if (!group.lowest_priority) {
    group.lowest_priority = std::numeric_limits<int64_t>::max();
    for (const auto& [id, ticket] : group.tickets) {
      group.lowest_priority = std::min(*group.lowest_priority, ticket->aged_priority);
    }
  }
  return *group.lowest_priority;
}

}  // namespace longspan
