// The ranks that together run one copy of a model: a grid of tp x kvp, rank r = t * kvp + k.
//
// Every rank creates its Group with the same options (Create is collective). Rank 0 then drives it through
// the Executor interface; the others serve until rank 0 shuts the group down. Threads: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/bootstrap.h"
#include "comm/communicator.h"
#include "comm/progress_record.h"
#include "comm/transport.h"
#include "kernels/backend.h"
#include "kvstore/block_manager.h"
#include "runtime/engine/executor.h"
#include "runtime/engine/handoff_agent.h"
#include "runtime/model/model_source.h"

namespace longspan {

using CreateTransport = std::function<absl::StatusOr<std::unique_ptr<Transport>>()>;

struct GroupOptions {
  int tp = 1;
  int kvp = 1;
  Numerics numerics;      // resolved: no kAuto
  uint64_t kv_bytes = 0;  // KV budget of one rank; 0 = 60 % of the memory free after loading, shared by the
                          // ranks of a host, and no more than max_sequences sequences of max_context can use
  int64_t max_context = 0;         // tokens; 0 = the model's
  int64_t max_batch_tokens = 576;  // tokens of one step at most, decodes and prefill chunks together
  int64_t max_sequences = 64;
  // Filled by Create: rows of logits that one step can return.
  int64_t max_logit_rows = 0;
  std::function<void(double)> progress;  // of loading, 0 to 1; may be empty
  // Of a group whose KV may move to and from others: makes each rank's transport. Empty: it stands alone.
  CreateTransport create_transport;
  HandoffPatience handoff_patience;
  ProgressRecord* record = nullptr;  // hears what this rank does; must outlive the group, may be null
};

// What each rank holds and has sent so far; vectors by rank.
struct GroupReport {
  int tp = 1, kvp = 1;
  std::vector<std::string> hosts;
  std::vector<uint64_t> weight_bytes;  // in the backend's layout
  std::vector<uint64_t> kv_bytes;      // KV pool
  std::vector<uint64_t> comm_bytes;    // sent to other ranks
  std::vector<uint64_t> comm_operations;
  std::vector<std::string> transport_addresses;  // empty: it stands alone
};

class Group : public Executor {
 public:
  // Loads this rank's shard. `source`, `bootstrap` and `backend` must outlive the group.
  static absl::StatusOr<std::unique_ptr<Group>> Create(const ModelSource& source, Bootstrap& bootstrap,
                                                       std::unique_ptr<Communicator> communicator,
                                                       Backend& backend, const GroupOptions& options);

  virtual const GroupOptions& options() const = 0;
  // Capacity of the KV store of all ranks, for the engine on rank 0.
  virtual const KvGeometry& geometry() const = 0;

  // This rank's KV pages in device memory; for tools that fill them themselves.
  virtual std::span<std::byte> kv_memory() = 0;

  // Rank 0, before any KV is received: where arrivals are told, on a thread of the group's, until Shutdown.
  virtual void SetOnKvArrival(HandoffAgent::OnArrival on_arrival) = 0;

  // Ranks other than 0: carries out steps until rank 0 shuts the group down or something fails.
  virtual absl::Status Serve() = 0;

  // What this rank has sent so far, by operation; for the thread that drives the group.
  virtual CommCounters comm_counters() const = 0;
  // Rank 0: counters of all ranks. Sends a request for them through the group.
  virtual absl::StatusOr<GroupReport> Report() = 0;
  // Rank 0: ends Serve on all other ranks. Called by the destructor too.
  virtual absl::Status Shutdown() = 0;
};

}  // namespace longspan
