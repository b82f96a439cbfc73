#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "kernels/cpu/flush_denormals.h"

namespace longspan {
namespace {

// Long enough to span the serial part of a layer, short enough not to matter when a rank is idle.
constexpr auto kSpinTime = std::chrono::microseconds(100);
constexpr int kChecksBetweenClocks = 64;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : parts_(static_cast<size_t>(std::max(1, threads))) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(int64_t count, int64_t chunk, bool own_parts, Call call, void* context) {
  call_ = call;
  context_ = context;
  const int64_t chunks = (count + chunk - 1) / chunk;
  chunk_ = chunk;
  for (int i = 0; i < threads(); ++i) {
    Part& part = parts_[static_cast<size_t>(i)];
    part.next.store(own_parts ? chunks * i / threads() * chunk
                    : i == 0  ? 0
                              : count,
                    std::memory_order_relaxed);
    part.end = own_parts ? std::min(count, chunks * (i + 1) / threads() * chunk) : count;
  }
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  Work(0);
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    // A worker that was descheduled holds the rest up: give it this core rather than spin.
    if (spins < 4096) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Work(int thread) {
  for (int i = 0; i < threads(); ++i) {
    Part& part = parts_[static_cast<size_t>((thread + i) % threads())];
    for (;;) {
      const int64_t begin = part.next.fetch_add(chunk_, std::memory_order_relaxed);
      if (begin >= part.end) break;
      call_(context_, begin, std::min(begin + chunk_, part.end), thread);
    }
  }
}

void ThreadPool::WorkerLoop(int thread) {
  FlushDenormals flush;
  uint32_t seen = 0;
  for (;;) {
    auto deadline = std::chrono::steady_clock::now() + kSpinTime;
    for (int spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins) {
      Pause();
      if (spins % kChecksBetweenClocks == 0 && std::chrono::steady_clock::now() > deadline) {
        generation_.wait(seen, std::memory_order_acquire);
        break;
      }
    }
    if (generation_.load(std::memory_order_acquire) == seen) continue;
    ++seen;
    if (stopping_.load()) return;
    Work(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace longspan
