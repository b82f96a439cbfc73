// A stream whose work runs later, on a thread of its own, as on a GPU: code that reads a result before
// Synchronize, or lets go of what it passed by reference, goes wrong.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "kernels/device.h"

namespace longspan {

struct DeferredStreamOptions {
  // Before each piece of work the thread sleeps for a random time up to this.
  std::chrono::microseconds max_delay{0};
  uint64_t seed = 0;
};

// May be derived from, to have work find device memory elsewhere (WorkAddress). Launched and synchronized by
// one thread at a time. Destruction finishes the work.
class DeferredStream : public Stream {
 public:
  explicit DeferredStream(const DeferredStreamOptions& options = {})
      : Stream(/*runs_inline=*/false), options_(options), random_(options.seed), thread_([this] { Run(); }) {}

  ~DeferredStream() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  absl::Status Synchronize() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.empty() && !working_; });
    return TakeError();
  }

 protected:
  void Enqueue(std::function<absl::Status()> work) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      std::function<absl::Status()> work = std::move(queue_.front());
      queue_.pop_front();
      working_ = true;
      lock.unlock();
      if (options_.max_delay.count() > 0) {
        std::this_thread::sleep_for(
            std::chrono::microseconds(random_() % (static_cast<uint64_t>(options_.max_delay.count()) + 1)));
      }
      absl::Status status = work();
      work = nullptr;
      lock.lock();
      Record(std::move(status));
      working_ = false;
      changed_.notify_all();
    }
  }

  const DeferredStreamOptions options_;
  std::mt19937_64 random_;  // of the thread
  std::mutex mutex_;        // guards what follows, and the stream's error
  std::condition_variable changed_;
  std::deque<std::function<absl::Status()>> queue_;
  bool working_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace longspan
