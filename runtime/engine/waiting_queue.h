// The requests that have not started, or were preempted: by priority, then by arrival.
//
// Owns its sequences. Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "comm/clock.h"
#include "runtime/engine/sequence.h"

namespace longspan {

class WaitingQueue {
 public:
  void Push(std::unique_ptr<Sequence> sequence, Clock::Time now);
  // Null when it is not here.
  std::unique_ptr<Sequence> Take(RequestId id);

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }

  // The first `at_most` in the order in which they are to start. A class of equal priority goes by arrival;
  // the class whose first request counts most goes first, see AgedPriority.
  std::vector<Sequence*> Order(Clock::Time now, size_t at_most) const;
  template <typename Function>
  void ForEach(Function&& function) const {
    for (const auto& [priority, sequences] : classes_) {
      for (const auto& sequence : sequences) function(*sequence);
    }
  }

 private:
  using Class = std::deque<std::unique_ptr<Sequence>>;  // by id
  std::map<int, Class, std::greater<int>> classes_;     // none is empty
  size_t size_ = 0;
  int64_t prompt_tokens_ = 0;
};

}  // namespace longspan
