// Heartbeats among the ranks of a group, so that a rank that dies, is stopped, is cut off or hangs ends the
// job in seconds, with a message that names it, while the threads that run the model wait inside a
// collective.
//
// Every rank has a thread that sends what the rank is doing (progress_record.h) to rank 0, and hears rank
// 0's. When rank 0 misses one, it tells the others, each says where it is, and rank 0 ends the job. When the
// others miss rank 0, each says so and ends itself.
#pragma once

#include <poll.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/bootstrap.h"
#include "comm/clock.h"
#include "comm/liveness_connection.h"
#include "comm/liveness_monitor.h"
#include "comm/progress_record.h"

namespace longspan {

struct LivenessOptions {
  Clock::Duration interval = std::chrono::milliseconds(500);  // between heartbeats
  LivenessLimits limits;
  // How long rank 0 waits for others to say where they are; and how long they wait to be ended, before they
  // end themselves.
  Clock::Duration last_words = std::chrono::milliseconds(500);
  Clock::Duration patience = std::chrono::seconds(3);

  // All are called on the liveness thread.
  // On rank 0, once: a rank is lost, and with it the group. Must return within a second, and wait for no
  // rank.
  std::function<void(const absl::Status&)> on_loss;
  std::function<void(const std::string& line)> print;  // for people
  // Ends this process, on rank 0 the whole job, as failed, without waiting for anything. Tests may return.
  std::function<void()> end;
};

// Threads: Fail may be called by any; the rest by the one that created it.
class Liveness {
 public:
  // Collective, over at least two ranks. The error is the same on all ranks, unless the bootstrap fails. The
  // record and the clock must outlive it.
  static absl::StatusOr<std::unique_ptr<Liveness>> Start(Bootstrap& bootstrap, const ProgressRecord& record,
                                                         const Clock& clock, LivenessOptions options);

  // Says goodbye and waits until every rank has: with all alive, a barrier.
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // This rank cannot go on: ends the job as a loss would, with this reason unless another rank's end explains
  // it. Returns only where options.end does. Without on_loss when it is rank 0 that fails.
  void Fail(const absl::Status& status);

 private:
  struct Peer {
    RankPlace place;
    LivenessConnection connection;
    bool said_goodbye = false;
  };

  Liveness(int rank, std::string host, std::vector<Peer> peers, FileDescriptor wake,
           const ProgressRecord& record, const Clock& clock, LivenessOptions options);

  std::vector<RankPlace> Watched() const;
  void Run();
  // Waits for messages and takes in those that have come.
  void Listen(Clock::Duration timeout);
  void Take(Peer& peer, const LivenessMessage& message);
  // At what this rank itself is doing.
  void Look();
  // Of this rank's other threads.
  void TakeOrders();
  void Wake();
  void SendToAll(LivenessMessage::Kind kind, std::string_view text = {});
  std::string Where() const;
  // The ends: on rank 0; elsewhere, told by rank 0, or without it.
  void EndJob(const Loss& loss);
  void EndAsTold();
  void EndAlone(const std::string& reason);

  const int rank_;
  const std::string host_;
  const FileDescriptor wake_;  // an eventfd
  const ProgressRecord& record_;
  const Clock& clock_;
  const LivenessOptions options_;

  // Of the thread.
  std::vector<Peer> peers_;  // rank 0: all others; elsewhere rank 0
  LivenessMonitor monitor_;
  Activity doing_;
  Clock::Time since_;
  std::optional<Clock::Time> failed_;  // when this rank did
  std::string reason_;
  bool leaving_ = false, aborted_ = false;
  std::vector<LivenessMessage> messages_;
  std::vector<pollfd> polled_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool leave_ = false, ended_ = false;  // guarded by mutex_
  absl::Status failure_;                // guarded by mutex_
  std::thread thread_;
};

}  // namespace longspan
