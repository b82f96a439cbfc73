// A group's side of its coordinator: joins it, runs what it asks for, and joins again when it was lost.
//
// Threads: all methods from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "comm/clock.h"
#include "comm/control_channel.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/coordinator/group_link.h"

namespace longspan {

struct GroupAgentOptions {
  std::string coordinator;  // HOST:PORT
  ControlTls tls;
  GroupDescription description;
};

class GroupAgent {
 public:
  // `engine` carries out what the coordinator asks for; `status` tells how the group fares. Engine and clock
  // outlive it.
  GroupAgent(GroupAgentOptions options, GroupLink& engine, std::function<GroupStatus()> status,
             const Clock& clock);
  ~GroupAgent();

  // Why the coordinator does not take this group, if it does not: trying again is of no use.
  absl::Status refusal() const;
  // Tells the coordinator that it wants to leave: it gets no new requests.
  void Drain();
  // The coordinator has agreed to that, or there is none.
  bool drained() const;
  // Leaves: OK once the coordinator has heard everything, for a second at most; an error at once. It does not
  // join again.
  void Leave(const absl::Status& why);
  // Runs of the coordinator that have not ended.
  int64_t open() const;

 private:
  class Membership;  // one stream

  void Run();
  static void TellDrain(Membership& membership);

  const GroupAgentOptions options_;
  GroupLink& engine_;
  const std::function<GroupStatus()> status_;
  const Clock& clock_;

  mutable std::mutex mutex_;  // of the following
  std::condition_variable changed_;
  std::shared_ptr<Membership> membership_;  // null between two
  absl::Status refusal_;
  bool draining_ = false, leaving_ = false;

  std::thread thread_;
};

}  // namespace longspan
