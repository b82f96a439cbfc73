// Threads that stay, for loops of a few microseconds.
//
// Run is called by one thread at a time, which takes part in the work. Workers spin for a short while after a
// loop, because the next usually follows at once, and sleep when it does not.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <type_traits>
#include <vector>

namespace longspan {

class ThreadPool {
 public:
  // `threads` in all, the caller's included; at least one.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) over [0, count) in chunks that are multiples of `grain` (the last may be
  // shorter). Every thread has a contiguous part, in which it goes forward, and then helps with the others'.
  // Returns when all are done.
  template <typename Body>
  void For(int64_t count, int64_t grain, Body&& body) {
    // About four chunks a thread: enough to even out threads of unequal speed.
    const int64_t target = count / (4 * threads());
    InChunks(count, std::max(grain, target / grain * grain), /*own_parts=*/true, body);
  }

  // Calls body(index, thread) for each index of [0, count), handed out in order, one at a time.
  template <typename Body>
  void ForEach(int64_t count, Body&& body) {
    InChunks(count, 1, /*own_parts=*/false, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) body(i, thread);
    });
  }

 private:
  using Call = void (*)(void* context, int64_t begin, int64_t end, int thread);

  template <typename Body>
  void InChunks(int64_t count, int64_t chunk, bool own_parts, Body&& body) {
    if (count <= 0) return;
    if (workers_.empty() || count <= chunk) {
      body(int64_t{0}, count, 0);
      return;
    }
    const auto call = [](void* context, int64_t begin, int64_t end, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end, thread);
    };
    Run(count, chunk, own_parts, call, const_cast<void*>(static_cast<const void*>(&body)));
  }
  void Run(int64_t count, int64_t chunk, bool own_parts, Call call, void* context);
  void Work(int thread);
  void WorkerLoop(int thread);

  std::vector<std::thread> workers_;
  Call call_ = nullptr;
  void* context_ = nullptr;
  int64_t chunk_ = 1;
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Part> parts_;  // by thread; the first has all where parts are not wanted
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace longspan
