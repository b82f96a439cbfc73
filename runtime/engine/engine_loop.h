// Lets any thread use an engine, which runs on one thread of its own.
//
// Requests and cancellations are queued and meet the engine between two steps. What is too much to take in is
// refused at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/engine_snapshot.h"
#include "runtime/engine/response_listener.h"

namespace longspan {

class EngineLoop {
 public:
  using Ticket = uint64_t;

  // At most `max_open` requests are open at a time. Engine and clock must outlive the loop.
  EngineLoop(Engine& engine, int64_t max_open, const Clock& clock);
  ~EngineLoop();

  // Any thread. ResourceExhausted when too many are open, Unavailable when the loop drains or has failed. The
  // listener is called on the engine's thread, and kept until it has heard of the end.
  absl::StatusOr<Ticket> Submit(Request request, std::shared_ptr<ResponseListener> listener);
  // Any thread: what Submit would say now of any request.
  absl::Status Admits() const;
  // Any thread. Unknown and finished tickets are ignored.
  void Cancel(Ticket ticket);
  // Any thread: has the listener hear of an error, on the engine's thread.
  void Refuse(std::shared_ptr<ResponseListener> listener, absl::Status error);
  // Any thread: as the engine's.
  void Continue(Ticket ticket, int32_t token);
  void KvArrived(const HandoffId& handoff, const KvArrival& arrival);
  // Any thread: takes no more requests, and lets Run return when the last has ended. What is still open after
  // `timeout` is cancelled.
  void Drain(Clock::Duration timeout);

  // Any thread: as it was at most 100 ms before the latest step ended. Never null.
  std::shared_ptr<const EngineSnapshot> snapshot() const;
  int64_t open() const { return open_; }

  // The engine's thread: steps while there is work, and returns when drained. An error means that the group
  // is unusable; every open request has heard kError then. `tick` is called between steps and some times a
  // second while there is nothing to do.
  absl::Status Run(const std::function<void()>& tick);

 private:
  class Forwarder;
  struct Command {
    Ticket ticket = 0;
    Request request = {};
    std::shared_ptr<ResponseListener> listener = {};  // null: cancel, or what follows
    absl::Status refusal = {};
    std::optional<int32_t> next_token = {};
    std::optional<std::pair<HandoffId, KvArrival>> arrival = {};
  };

  absl::Status AdmitsLocked() const;
  void Execute(Command command);
  void CancelAll();
  void Publish();

  Engine& engine_;
  const int64_t max_open_;
  const Clock& clock_;
  std::atomic<int64_t> open_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Command> commands_;
  Ticket next_ticket_ = 1;
  bool draining_ = false;
  Clock::Time drain_end_;
  absl::Status fault_;
  std::shared_ptr<const EngineSnapshot> snapshot_;

  // Of the engine's thread.
  absl::flat_hash_map<Ticket, std::unique_ptr<Forwarder>> requests_;  // open ones
  std::vector<std::unique_ptr<Forwarder>> ended_;  // since the last step, which may still call them
  Clock::Time published_;
  int64_t published_steps_ = -1;
  bool stuck_ = false;  // the last step had nothing to compute
};

}  // namespace longspan
