// What the next step does. Pure functions: views of the sequences in, decisions out.
//
// Decodes come first, one token each, so that a long prompt never freezes the others. Chunks of prompts share
// a budget of tokens and of time: higher priority first, then the prompt that has least left to compute, so
// that a short one does not wait for a long one. A quarter of the budget belongs to the prompt that arrived
// first, whatever its length and priority: everybody is that in the end, so nobody starves.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "runtime/engine/batch.h"
#include "runtime/engine/step_time_model.h"

namespace longspan {

// A running sequence, as far as scheduling is concerned.
struct SequenceView {
  int64_t prefill_tokens = 0;   // its prompt; after a preemption its output so far too
  int64_t computed_tokens = 0;  // positions whose KV is written; at least prefill_tokens = decoding
  bool prompt_logits = false;   // needs the logits of every position from logits_from on
  int64_t logits_from = 0;
  int64_t arrival = 0;  // smaller = earlier
  int priority = 0;

  bool decodes() const { return computed_tokens >= prefill_tokens; }
  int64_t remaining() const { return prefill_tokens - computed_tokens; }
};

struct StepBudget {
  int64_t chunk_tokens = 0;    // of prompts; 0 = decodes alone, of which there must be one then
  int64_t max_logit_rows = 0;  // at least the number of running sequences, so that each of them can go on
  // The time that chunks may take, by the model; but a chunk of least_tokens is always within it.
  double prefill_s = std::numeric_limits<double>::infinity();
  int64_t least_tokens = 1;
  const StepTimeModel* model = nullptr;  // needed for a finite prefill_s
};

inline constexpr double kShareOfEldest = 0.25;  // of the budget of chunks

struct ScheduledChunk {
  int32_t sequence = 0;  // index into the views
  int64_t tokens = 0;
  LogitRows logits = LogitRows::kNone;
};

using SchedulePlan = std::vector<ScheduledChunk>;

// Every decoding sequence, and unless chunk_tokens is 0 the first of the others to arrive, is in the plan,
// which is replaced.
void Schedule(std::span<const SequenceView> running, const StepBudget& budget, SchedulePlan* plan);

}  // namespace longspan
