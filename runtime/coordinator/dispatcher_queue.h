// What the dispatcher knows of requests, and the order in which those that wait are to start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "comm/clock.h"
#include "runtime/coordinator/group_description.h"

namespace longspan {

using TicketId = int64_t;  // of a request, from 1 in order of arrival

struct Demand {
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;  // output
  bool prompt_logits = false;
  int priority = 0;
  std::optional<Clock::Time> deadline;

  int64_t total_tokens() const { return prompt_tokens + max_tokens; }
};

struct Ticket {
  TicketId id = 0;
  Demand demand;
  int preemptions = 0, losses = 0;
  int64_t computed_tokens = 0, output_tokens = 0;  // as its group said last
  Clock::Time due = Clock::Time::max();            // when it is given up if nothing changes

  // While it waits.
  Clock::Time queued_at;                      // the last time
  Clock::Duration waited{};                   // the times before
  std::optional<Clock::Time> homeless_since;  // no group could hold it
  bool tried = false;                         // since it was queued, with every group
  GroupId kept_room_on = 0;                   // 0: none
  struct Refusal {
    GroupId group = 0;
    int64_t load = 0;  // that the group had told last
  };
  std::vector<Refusal> refusals;

  // While it runs.
  GroupId group = 0;              // 0: it waits
  int64_t run = 0;                // of all, from 1 in order of their start
  int64_t prefill_tokens = 0;     // those it had then
  int64_t aged_priority = 0;      // as of then
  std::vector<int64_t> reserved;  // [kvp] pages, of the group
  int64_t most_reserved = 0;      // of them
};

// By priority, then by arrival. Tickets outlive their stay. Threads: one thread at a time.
class TicketQueue {
 public:
  // What a walk looks at of each.
  struct Entry {
    int64_t total_tokens = 0;
    bool prompt_logits = false;
    Ticket* ticket = nullptr;
  };

  void Push(Ticket& ticket);
  void Take(const Ticket& ticket);

  int64_t size() const { return size_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }

  // Classes of equal priority go by arrival; the class whose first ticket counts most goes first
  // (AgedPriority), those without a home aside.
  void Sort(Clock::Time now);
  // Which goes first, as of Sort; both wait.
  bool Before(const Ticket& a, const Ticket& b) const;
  // function(priority, entries) for each class, in order.
  template <typename Function>
  void ForEachClass(Function&& function) const {
    for (const int priority : order_) {
      const auto it = classes_.find(priority);
      if (it != classes_.end()) function(priority, it->second.entries);
    }
  }

 private:
  struct Class {
    std::vector<Entry> entries;  // by id
    int rank = -1;               // in order_; -1 before the first Sort
  };
  std::map<int, Class, std::greater<>> classes_;  // by priority; none is empty
  std::vector<int> order_;                        // of priorities
  int64_t size_ = 0, prompt_tokens_ = 0;
};

}  // namespace longspan
