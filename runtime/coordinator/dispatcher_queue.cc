#include "runtime/coordinator/dispatcher_queue.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "runtime/engine/admission.h"

namespace longspan {
namespace {

int64_t AgedPriorityAt(const Ticket& ticket, Clock::Time now) {
  return AgedPriority(ticket.demand.priority, ticket.waited + (now - ticket.queued_at), ticket.preemptions);
}

auto Place(std::vector<TicketQueue::Entry>& entries, TicketId id) {
  return std::lower_bound(
      entries.begin(), entries.end(), id,
      [](const TicketQueue::Entry& entry, TicketId key) { return entry.ticket->id < key; });
}

}  // namespace

void TicketQueue::Push(Ticket& ticket) {
  std::vector<Entry>& entries = classes_[ticket.demand.priority].entries;
  const Entry entry = {ticket.demand.total_tokens(), ticket.demand.prompt_logits, &ticket};
  // One that has run gets its old place.
  entries.insert(
      entries.empty() || entries.back().ticket->id < ticket.id ? entries.end() : Place(entries, ticket.id),
      entry);
  ++size_;
  prompt_tokens_ += ticket.demand.prompt_tokens;
}

void TicketQueue::Take(const Ticket& ticket) {
  const auto same = classes_.find(ticket.demand.priority);
  const auto place = Place(same->second.entries, ticket.id);
  LONGSPAN_CHECK(place != same->second.entries.end() && place->ticket == &ticket);
  same->second.entries.erase(place);
  if (same->second.entries.empty()) classes_.erase(same);
  --size_;
  prompt_tokens_ -= ticket.demand.prompt_tokens;
}

void TicketQueue::Sort(Clock::Time now) {
  struct Key {
    int64_t aged_priority;
    int priority;
    Class* tickets;
  };
  std::vector<Key> keys;
  for (auto& [priority, tickets] : classes_) {
    const auto first = std::find_if(tickets.entries.begin(), tickets.entries.end(),
                                    [](const Entry& entry) { return !entry.ticket->homeless_since; });
    const Ticket& counts = first == tickets.entries.end() ? *tickets.entries.front().ticket : *first->ticket;
    keys.push_back({AgedPriorityAt(counts, now), priority, &tickets});
  }
  std::stable_sort(keys.begin(), keys.end(),
                   [](const Key& a, const Key& b) { return a.aged_priority > b.aged_priority; });
  order_.clear();
  for (const Key& key : keys) {
    key.tickets->rank = static_cast<int>(order_.size());
    order_.push_back(key.priority);
  }
}

bool TicketQueue::Before(const Ticket& a, const Ticket& b) const {
  if (a.demand.priority == b.demand.priority) return a.id < b.id;
  return classes_.at(a.demand.priority).rank < classes_.at(b.demand.priority).rank;
}

}  // namespace longspan
