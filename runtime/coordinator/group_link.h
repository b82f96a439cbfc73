// How a coordinator reaches one of its groups: in its own process (local_group.h) or far away
// (remote_group.h).
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/engine/engine_snapshot.h"
#include "runtime/engine/request.h"
#include "runtime/engine/response_listener.h"

namespace longspan {

// One attempt at a request on one group; never used again.
using RunId = int64_t;

// What a group tells of itself, some times a second.
struct GroupStatus {
  EngineSnapshot engine;  // the ids of its sequences are those of runs
  CommCounters comm;      // what its rank 0 has sent
};

// Threads: calls one at a time. None waits, and none calls a listener before it returns.
class GroupLink {
 public:
  virtual ~GroupLink() = default;

  // Begins a run there, of a request whose seed, largest output and shift are set. Calls reach the group in
  // their order.
  virtual void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) = 0;
  // Of a run with receives_from: the token after what it receives, which the listener has heard of elsewhere.
  virtual void Continue(RunId run, int32_t token) = 0;
  // The listener may still hear of what was on its way. Unknown runs are ignored.
  virtual void Cancel(RunId run) = 0;
};

}  // namespace longspan
