#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kvstore/block_hash.h"
#include "runtime/engine/engine_state.h"

namespace longspan {

absl::Status Engine::State::CheckPeer(const KvPeer& peer, bool has_shift) const {
  if (!has_shift) return absl::InvalidArgumentError("a request whose KV moves needs a shift");
  if (peer.grid.tp < 1 || peer.grid.kvp < 1 || options.kv_heads % peer.grid.tp != 0) {
    return absl::InvalidArgumentError(absl::StrCat("KV of ", options.kv_heads,
                                                   " heads cannot move between here and a group of tp ",
                                                   peer.grid.tp, " x kvp ", peer.grid.kvp));
  }
  if (peer.shift < 0 || peer.shift >= peer.grid.kvp ||
      std::ssize(peer.addresses) != int64_t{peer.grid.tp} * peer.grid.kvp) {
    return absl::InvalidArgumentError(absl::StrCat("a handoff with shift ", peer.shift, " and ",
                                                   peer.addresses.size(), " addresses of a group of tp ",
                                                   peer.grid.tp, " x kvp ", peer.grid.kvp));
  }
  return absl::OkStatus();
}

void Engine::State::OpenHandoff(Sequence& sequence, Clock::Time now) {
  const bool receives = sequence.receives_from.has_value();
  KvOrder order;
  order.kind = receives ? KvOrder::Kind::kReceive : KvOrder::Kind::kSend;
  order.peer = receives ? *sequence.receives_from : *sequence.sends_to;
  order.slot = sequence.slot;
  order.shift = sequence.blocks.shift();
  order.tokens = sequence.prefill_tokens;
  order.hashes = HashBlocks(options.kv_root, sequence.tokens, options.geometry.block_size);
  if (receives) {
    order.grants = blocks->ExtendAt(sequence.blocks, sequence.prefill_tokens);
    order.first_live_blocks = sequence.blocks.first_live_blocks();
    sequence.started = true;
    sequence.idle = true;
  }
  sequence.kv_open = true;
  sequence.kv_opened_at = now;
  kv_orders.push_back(std::move(order));
}

// The pages are the sequence's alone, or anybody's, once the next step begins.
void Engine::State::CloseHandoff(Sequence& sequence) {
  if (!std::exchange(sequence.kv_open, false)) return;
  KvOrder order;
  order.kind = KvOrder::Kind::kClose;
  order.peer.handoff = (sequence.receives_from ? sequence.receives_from : sequence.sends_to)->handoff;
  order.slot = sequence.slot;
  // Those before it in the same step may have opened it.
  kv_orders.push_back(std::move(order));
}

void Engine::State::AnnounceReady() {
  in_step = true;
  for (const auto& sequence : running) {
    if (!sequence->receives_from || sequence->told_ready || sequence->finished) continue;
    sequence->told_ready = true;
    sequence->listener->OnReadyForKv();
  }
  in_step = false;
}

Sequence* Engine::State::Find(RequestId id) {
  const auto it =
      std::find_if(running.begin(), running.end(), [id](const auto& sequence) { return sequence->id == id; });
  return it == running.end() ? nullptr : it->get();
}

void Engine::Continue(RequestId id, int32_t token) {
  State& state = *state_;
  LONGSPAN_CHECK(!state.in_step);
  Sequence* sequence = state.Find(id);
  if (sequence == nullptr || !sequence->receives_from || sequence->goes_on) return;
  sequence->goes_on = true;
  sequence->went_on_at = state.clock.Now();
  sequence->tokens.push_back(token);
  sequence->AcceptOutput(token);
  if (sequence->kv_arrived) {
    state.GoOn(*sequence);
    return;
  }
  KvOrder order;
  order.kind = KvOrder::Kind::kSourceDone;
  order.peer.handoff = sequence->receives_from->handoff;
  order.slot = sequence->slot;
  state.kv_orders.push_back(std::move(order));
}

void Engine::KvArrived(const HandoffId& handoff, KvArrival arrival) {
  State& state = *state_;
  LONGSPAN_CHECK(!state.in_step);
  const auto it = std::find_if(state.running.begin(), state.running.end(), [&handoff](const auto& sequence) {
    return sequence->kv_open && sequence->receives_from && sequence->receives_from->handoff == handoff;
  });
  if (it == state.running.end()) return;
  Sequence& sequence = **it;
  const Clock::Time now = state.clock.Now();
  state.CloseHandoff(sequence);
  EngineTotals& totals = state.totals;
  totals.handoff_useful_bytes += arrival.complete ? arrival.useful_bytes : 0;
  totals.handoff_moved_bytes += arrival.moved_bytes;
  AddTo(&totals.handoff_refused_pieces, arrival.refused_pieces);
  arrival.seconds = ToSeconds(now - sequence.kv_opened_at);
  if (sequence.goes_on) arrival.exposed_seconds = ToSeconds(now - sequence.went_on_at);
  ++(arrival.complete ? totals.handoffs_total : totals.handoffs_given_up_total);
  if (arrival.complete) {
    sequence.kv_arrived = true;
    if (sequence.goes_on) state.GoOn(sequence);
  } else {
    state.ComputeInstead(sequence);
  }
  sequence.listener->OnKvArrived(arrival);
}

void Engine::State::GoOn(Sequence& sequence) {
  sequence.idle = false;
  sequence.computed_tokens = sequence.prefill_tokens;
  sequence.next_logits = sequence.prefill_tokens;
}

// A handoff is given up only once its source has computed all.
void Engine::State::ComputeInstead(Sequence& sequence) {
  LONGSPAN_CHECK(sequence.goes_on);
  const int shift = sequence.blocks.shift();
  blocks->Free(sequence.blocks);
  sequence.blocks = blocks->Reserve(sequence.kv_need(), shift);
  sequence.idle = false;
  sequence.started = false;
  sequence.computed_tokens = 0;
  sequence.prefill_tokens = static_cast<int64_t>(sequence.tokens.size());
  sequence.next_logits = sequence.prefill_tokens - 1;
  totals.recomputed_tokens_total += sequence.prefill_tokens;
}

}  // namespace longspan
