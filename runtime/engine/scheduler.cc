#include "runtime/engine/scheduler.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/check.h"
#include "runtime/engine/itl_target.h"

namespace longspan {
namespace {

constexpr double kShareOfEldest = 0.25;  // of the budget of chunks

int64_t Remaining(const SequenceView& view) { return view.prefill_tokens - view.computed_tokens; }

// The chunk that a prompt would get if it had the whole budget.
int64_t LongestChunk(const SequenceView& view, const StepBudget& budget) {
  if (budget.prefill_s == std::numeric_limits<double>::infinity()) return budget.chunk_tokens;
  const double tokens = budget.prefill_s / budget.model->TokenSeconds(view.computed_tokens);
  if (!(tokens < static_cast<double>(budget.chunk_tokens))) return budget.chunk_tokens;
  return std::clamp(static_cast<int64_t>(tokens), std::min(budget.least_tokens, budget.chunk_tokens),
                    budget.chunk_tokens);
}

// Cuts the chunk of a prompt to what it may have, and says which logits it needs.
ScheduledChunk MakeChunk(int32_t sequence, const SequenceView& view, int64_t tokens, int64_t rows,
                         int64_t max_logit_rows) {
  tokens = std::min(tokens, Remaining(view));
  if (view.prompt_logits) {
    // Its KV is reserved for chunks of max_logit_rows.
    if (view.computed_tokens < view.logits_from) {
      tokens = std::min({tokens, view.logits_from - view.computed_tokens, max_logit_rows});
      return {sequence, tokens, LogitRows::kNone};
    }
    return {sequence, std::min(tokens, rows), LogitRows::kAll};
  }
  if (tokens < Remaining(view)) return {sequence, tokens, LogitRows::kNone};
  // Without a row for its logits the last token waits for the next step.
  if (rows == 0) return {sequence, tokens - 1, LogitRows::kNone};
  return {sequence, tokens, LogitRows::kLast};
}

}  // namespace

void Schedule(std::span<const SequenceView> running, const StepBudget& budget, SchedulePlan* plan) {
  LONGSPAN_CHECK(budget.chunk_tokens >= 1 && budget.max_logit_rows >= static_cast<int64_t>(running.size()));
  const auto view_of = [running](const ScheduledChunk& chunk) -> const SequenceView& {
    return running[static_cast<size_t>(chunk.sequence)];
  };
  plan->clear();
  int64_t rows_left = budget.max_logit_rows;
  for (size_t i = 0; i < running.size(); ++i) {
    if (!running[i].decodes()) continue;
    plan->push_back({static_cast<int32_t>(i), 1, LogitRows::kLast});
    --rows_left;
  }
  const auto first_prompt = static_cast<ptrdiff_t>(plan->size());
  int32_t eldest = -1;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i].decodes()) continue;
    plan->push_back({static_cast<int32_t>(i), 0, LogitRows::kNone});
    if (eldest < 0 || running[i].arrival < running[static_cast<size_t>(eldest)].arrival) {
      eldest = static_cast<int32_t>(i);
    }
  }
  if (eldest < 0) return;
  std::sort(plan->begin() + first_prompt, plan->end(),
            [&view_of](const ScheduledChunk& a, const ScheduledChunk& b) {
              const SequenceView &x = view_of(a), &y = view_of(b);
              return std::tuple(-x.priority, Remaining(x), x.arrival) <
                     std::tuple(-y.priority, Remaining(y), y.arrival);
            });

  double left = 1;  // of the budget
  const SequenceView& eldest_view = running[static_cast<size_t>(eldest)];
  // What the others leave to the eldest prompt while it has had nothing.
  double kept = std::min(kShareOfEldest, static_cast<double>(Remaining(eldest_view)) /
                                             static_cast<double>(LongestChunk(eldest_view, budget)));
  int64_t kept_rows = 1;
  for (auto chunk = plan->begin() + first_prompt; chunk != plan->end(); ++chunk) {
    const SequenceView& view = view_of(*chunk);
    const bool is_eldest = chunk->sequence == eldest;
    if (is_eldest) kept = kept_rows = 0;
    const auto longest = static_cast<double>(LongestChunk(view, budget));
    // A little more than the quotient, whose rounding must not cost a token.
    auto tokens = static_cast<int64_t>((left - kept) * longest + 1e-6);
    if (is_eldest) tokens = std::max<int64_t>(tokens, 1);
    *chunk = MakeChunk(chunk->sequence, view, tokens, rows_left - kept_rows, budget.max_logit_rows);
    left -= static_cast<double>(chunk->tokens) / longest;
    if (chunk->logits == LogitRows::kAll) rows_left -= chunk->tokens;
    if (chunk->logits == LogitRows::kLast) --rows_left;
  }
  std::erase_if(*plan, [](const ScheduledChunk& chunk) { return chunk.tokens == 0; });
}

StepBudget BudgetFor(std::span<const SequenceView> running, int64_t chunk_tokens, int64_t max_logit_rows,
                     double itl_target_s, const StepTimeModel& model) {
  StepBudget budget = {.chunk_tokens = chunk_tokens, .max_logit_rows = max_logit_rows};
  StepWork work;
  int64_t prompts = 0;
  for (const SequenceView& view : running) {
    if (view.decodes()) {
      ++work.decodes;
      work.decode_context += view.computed_tokens;
    } else {
      ++prompts;
    }
  }
  if (work.decodes == 0 || prompts == 0 || itl_target_s == kNoItlTarget) return budget;
  budget.prefill_s =
      PrefillSeconds(itl_target_s, model.DecodeSeconds(work), model.noise(), work.decodes, prompts);
  budget.least_tokens = kLeastChunkTokens;
  budget.model = &model;
  budget.chunk_tokens = std::min(chunk_tokens, model.trusted_tokens());
  return budget;
}

}  // namespace longspan
