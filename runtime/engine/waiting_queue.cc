#include "runtime/engine/waiting_queue.h"

#include <algorithm>
#include <utility>

namespace longspan {

void WaitingQueue::Push(std::unique_ptr<Sequence> sequence, Clock::Time now) {
  sequence->queued_at = now;
  ++size_;
  prompt_tokens_ += sequence->prompt_tokens;
  Class& same = classes_[sequence->priority];
  // New requests go to the end; one that was preempted gets its old place.
  const auto place = std::upper_bound(same.begin(), same.end(), sequence,
                                      [](const auto& a, const auto& b) { return a->id < b->id; });
  same.insert(place, std::move(sequence));
}

std::unique_ptr<Sequence> WaitingQueue::Take(RequestId id) {
  for (auto same = classes_.begin(); same != classes_.end(); ++same) {
    Class& sequences = same->second;
    const auto place =
        std::lower_bound(sequences.begin(), sequences.end(), id,
                         [](const auto& sequence, RequestId key) { return sequence->id < key; });
    if (place == sequences.end() || (*place)->id != id) continue;
    std::unique_ptr<Sequence> sequence = std::move(*place);
    sequences.erase(place);
    if (sequences.empty()) classes_.erase(same);
    --size_;
    prompt_tokens_ -= sequence->prompt_tokens;
    return sequence;
  }
  return nullptr;
}

std::vector<Sequence*> WaitingQueue::Order(Clock::Time now, size_t at_most) const {
  std::vector<const Class*> classes;
  for (const auto& [priority, sequences] : classes_) classes.push_back(&sequences);
  std::stable_sort(classes.begin(), classes.end(), [now](const Class* a, const Class* b) {
    return a->front()->AgedPriorityAt(now) > b->front()->AgedPriorityAt(now);
  });
  std::vector<Sequence*> order;
  for (const Class* sequences : classes) {
    for (const auto& sequence : *sequences) {
      if (order.size() == at_most) return order;
      order.push_back(sequence.get());
    }
  }
  return order;
}

}  // namespace longspan
