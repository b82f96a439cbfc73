#include <algorithm>

#include "runtime/engine/engine_state.h"

namespace longspan {
namespace {

SequenceSnapshot SnapshotOf(const Sequence& sequence) {
  return {.id = sequence.label,
          .priority = sequence.priority,
          .decoding = sequence.computed_tokens >= sequence.prefill_tokens,
          .moving = sequence.idle,
          .prompt_tokens = sequence.prompt_tokens,
          .computed_tokens = sequence.computed_tokens,
          .output_tokens = sequence.output_tokens(),
          .max_tokens = sequence.max_tokens,
          .pages_in_use = sequence.blocks.in_use(),
          .pages_reserved = sequence.blocks.reserved()};
}

KvRankSnapshot SnapshotOf(const BlockManager& blocks, int rank,
                          const std::vector<std::unique_ptr<Sequence>>& running) {
  KvRankSnapshot snapshot;
  snapshot.capacity = blocks.reservations().capacity(rank);
  snapshot.reserved = blocks.reservations().reserved(rank);
  snapshot.in_use = blocks.in_use(rank);
  std::vector<RequestId> owners(static_cast<size_t>(snapshot.capacity), 0);  // [pages]
  double filled = 0;
  for (const auto& sequence : running) {
    blocks.ForEachPage(sequence->blocks, rank, [&](int32_t page, double fill) {
      owners[static_cast<size_t>(page)] = sequence->label;
      filled += fill;
    });
  }
  if (snapshot.reserved > 0) snapshot.waste_ratio = 1 - filled / static_cast<double>(snapshot.reserved);
  for (const RequestId owner : owners) {
    if (snapshot.map.empty() || snapshot.map.back().owner != owner) snapshot.map.push_back({owner, 0});
    ++snapshot.map.back().pages;
  }
  return snapshot;
}

}  // namespace

EngineTotals& EngineTotals::operator+=(const EngineTotals& other) {
  steps += other.steps;
  prefill_tokens_total += other.prefill_tokens_total;
  decode_tokens_total += other.decode_tokens_total;
  recomputed_tokens_total += other.recomputed_tokens_total;
  preemptions_total += other.preemptions_total;
  prefill_seconds_total += other.prefill_seconds_total;
  decode_seconds_total += other.decode_seconds_total;
  handoffs_total += other.handoffs_total;
  handoffs_given_up_total += other.handoffs_given_up_total;
  handoff_useful_bytes += other.handoff_useful_bytes;
  handoff_moved_bytes += other.handoff_moved_bytes;
  AddTo(&handoff_refused_pieces, other.handoff_refused_pieces);
  return *this;
}

EngineSnapshot Engine::Snapshot() const {
  const State& state = *state_;
  EngineSnapshot snapshot;
  static_cast<EngineTotals&>(snapshot) = state.totals;
  snapshot.waiting = static_cast<int64_t>(state.waiting.size());
  snapshot.waiting_prompt_tokens = state.waiting.prompt_tokens();
  for (const auto& sequence : state.running) {
    snapshot.sequences.push_back(SnapshotOf(*sequence));
    if (sequence->idle) continue;
    ++(snapshot.sequences.back().decoding ? snapshot.decoding : snapshot.prefilling);
    snapshot.prefill_tokens_left +=
        std::max<int64_t>(0, sequence->prefill_tokens - sequence->computed_tokens);
  }
  snapshot.prefill_tokens_per_s = state.prefill_rate.per_second();
  snapshot.decode_step_s = state.decode_rate.seconds_each();
  for (int rank = 0; rank < state.blocks->geometry().kvp; ++rank) {
    snapshot.ranks.push_back(SnapshotOf(*state.blocks, rank, state.running));
  }
  return snapshot;
}

}  // namespace longspan
