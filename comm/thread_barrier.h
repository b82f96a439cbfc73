// A barrier for ranks that are threads of one process. Waiting sleeps in the kernel after a short spin, so
// that more ranks than cores do not take each other's time. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

namespace longspan {

class ThreadBarrier {
 public:
  explicit ThreadBarrier(int count) : count_(count) {}

  // Returns when `count` threads have called it. What they wrote before is visible after.
  void Wait() {
    const uint32_t generation = generation_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_acq_rel);
      generation_.notify_all();
      return;
    }
    while (generation_.load(std::memory_order_acquire) == generation) {
      generation_.wait(generation, std::memory_order_acquire);
    }
  }

 private:
  const int count_;
  std::atomic<int> arrived_{0};
  std::atomic<uint32_t> generation_{0};
};

}  // namespace longspan
