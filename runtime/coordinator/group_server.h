// Where groups join a coordinator: each stream that registers is a group until it breaks, says nothing for
// too long, or has work and makes no step.
//
// A group that comes back is a new one: what it says on its old stream is not listened to, and what it still
// did for it is for nobody. Threads: all methods from any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "comm/control_channel.h"
#include "runtime/coordinator/coordinator.h"

namespace longspan {

struct GroupServerOptions {
  std::string address = "127.0.0.1:0";  // to listen on
  ControlTls tls;
  Clock::Duration heartbeat_timeout = std::chrono::seconds(3);
  // A group that has work and makes no step for so long is lost.
  Clock::Duration stall_timeout = std::chrono::seconds(120);
};

class GroupServer {
 public:
  // Coordinator and clock outlive it.
  static absl::StatusOr<std::unique_ptr<GroupServer>> Listen(GroupServerOptions options,
                                                             Coordinator& coordinator, const Clock& clock);
  ~GroupServer();

  int port() const { return control_->port(); }

 private:
  class Member;  // one stream, and the group that it is once it has registered

  GroupServer(GroupServerOptions options, Coordinator& coordinator, const Clock& clock);
  Clock::Duration BeatInterval() const;
  void RunTimer();

  const GroupServerOptions options_;
  Coordinator& coordinator_;
  const Clock& clock_;

  std::mutex mutex_;  // of the following
  std::vector<std::weak_ptr<Member>> members_;
  bool ending_ = false;
  std::condition_variable changed_;

  std::thread timer_;
  std::unique_ptr<ControlServer> control_;  // ends first: its handlers use the rest
};

}  // namespace longspan
