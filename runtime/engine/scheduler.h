// What the next step does. Pure functions: views of the sequences in, decisions out.
//
// Decodes come first, one token each, so that a long prompt never freezes the others. Chunks of prompts then
// share a budget of tokens, first come first served: an early prompt takes what it can use and the next one
// the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kvstore/block_manager.h"
#include "runtime/engine/batch.h"

namespace longspan {

// A running sequence, as far as scheduling is concerned.
struct SequenceView {
  int64_t prompt_tokens = 0;
  int64_t computed_tokens = 0;  // positions whose KV is written; at least prompt_tokens = decoding
  bool prompt_logits = false;   // needs the logits of every prompt position
};

struct StepBudget {
  int64_t chunk_tokens = 0;    // of prompts
  int64_t max_logit_rows = 0;  // at least the number of running sequences, so that each of them can go on
};

struct ScheduledChunk {
  int32_t sequence = 0;  // index into the views
  int64_t tokens = 0;
  LogitRows logits = LogitRows::kNone;
};

using SchedulePlan = std::vector<ScheduledChunk>;

// `running` in order of arrival. Every decoding sequence, and the first of the others, is in the plan, which
// is replaced.
void Schedule(std::span<const SequenceView> running, const StepBudget& budget, SchedulePlan* plan);

// Whether a sequence that may grow to total_tokens can start beside those that run, and then its shift: it
// needs a slot, and its whole demand on every rank beside what was promised to the others.
std::optional<int> Admit(int64_t total_tokens, int64_t chunk_tokens, const BlockManager& blocks,
                         int free_slots);

}  // namespace longspan
