// A request on its way through the engine: what it asked for, and how far it has come.
//
// Owned by the engine from Submit to OnFinish.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/clock.h"
#include "kvstore/block_table.h"
#include "runtime/engine/admission.h"
#include "runtime/engine/request.h"
#include "runtime/engine/sampler.h"
#include "runtime/engine/token_counts.h"

namespace longspan {

struct Sequence {
  RequestId id = 0;
  int64_t label = 0;  // how snapshots name it
  RequestListener* listener = nullptr;
  std::vector<int32_t> tokens;  // prompt, then output
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;    // output
  int64_t chunk_tokens = 0;  // of its prompt in one step at most
  SamplingParams sampling;
  uint64_t seed = 0;
  bool ignore_eos = false;
  bool prompt_logits = false;
  int priority = 0;
  std::optional<Clock::Time> deadline;
  std::unique_ptr<TokenConstraint> constraint;
  std::optional<int> shift;  // absent: chosen when it starts

  Clock::Time queued_at;                     // the last time
  Clock::Duration waited{};                  // in the queue, the times before
  std::optional<Clock::Time> held_up_since;  // at the front of the queue: there was no room
  int preemptions = 0;
  bool announced = false;  // OnStart was called

  // KV that moves; see Request.
  std::optional<KvPeer> receives_from, sends_to;
  bool kv_open = false;     // the workers know of it
  bool kv_arrived = false;  // and the workers do not any more
  bool told_ready = false;
  bool goes_on = false;  // the token after what it receives is known
  Clock::Time kv_opened_at, went_on_at;
  // Nothing is computed for it: its KV is awaited, or kept for another group.
  bool idle = false;

  // From admission on, until it ends or is preempted. Before a step computed_tokens < tokens.size(): the last
  // token of a sequence that goes on is always still to be computed.
  int slot = -1;         // -1 while it waits
  bool started = false;  // the workers know its slot
  BlockTable blocks;
  int64_t prefill_tokens = 0;   // those it had when it was admitted: computed before it decodes
  int64_t computed_tokens = 0;  // positions whose KV is written

  // A preemption leaves these as they are.
  int64_t next_logits = 0;  // the first position whose logits were not delivered
  TokenCounts counts;       // kept only if sampling looks at it
  bool finished = false;    // OnFinish was called; it holds nothing any more

  // No token waits to be computed: the next one can be sampled.
  bool Computed() const { return computed_tokens == static_cast<int64_t>(tokens.size()); }
  // A token of the output that `tokens` has: what remembers the output hears of it.
  void AcceptOutput(int32_t token) {
    if (constraint != nullptr) constraint->Accept(token);
    if (UsesTokenCounts(sampling)) counts.AddOutput(token);
  }
  // That it may come to here.
  int64_t total_tokens() const {
    return sends_to ? static_cast<int64_t>(tokens.size()) + (idle ? 0 : 1) : prompt_tokens + max_tokens;
  }
  KvNeed kv_need() const { return {total_tokens(), chunk_tokens}; }
  // While it waits, or runs after it waited until `now`.
  int64_t AgedPriorityAt(Clock::Time now) const {
    return AgedPriority(priority, slot >= 0 ? waited : waited + (now - queued_at), preemptions);
  }
  int64_t output_tokens() const { return static_cast<int64_t>(tokens.size()) - prompt_tokens; }
};

}  // namespace longspan
