#include "runtime/engine/scheduler.h"

#include <algorithm>
#include <tuple>

#include "kernels/check.h"

namespace longspan {
namespace {

// The chunk that a prompt would get if it had the whole budget.
int64_t LongestChunk(const SequenceView& view, const StepBudget& budget) {
  if (budget.prefill_s == std::numeric_limits<double>::infinity()) return budget.chunk_tokens;
  const int64_t least = std::min(budget.least_tokens, budget.chunk_tokens);
  if (budget.prefill_s <= 0) return least;
  const double tokens = budget.prefill_s / budget.model->TokenSeconds(view.computed_tokens);
  if (tokens >= static_cast<double>(budget.chunk_tokens)) return budget.chunk_tokens;
  return std::max(static_cast<int64_t>(tokens), least);
}

// Cuts the chunk of a prompt to what it may have, and says which logits it needs.
ScheduledChunk MakeChunk(int32_t sequence, const SequenceView& view, int64_t tokens, int64_t rows,
                         int64_t max_logit_rows) {
  tokens = std::min(tokens, view.remaining());
  if (view.prompt_logits) {
    // Its KV is reserved for chunks of max_logit_rows.
    if (view.computed_tokens < view.logits_from) {
      tokens = std::min({tokens, view.logits_from - view.computed_tokens, max_logit_rows});
      return {sequence, tokens, LogitRows::kNone};
    }
    return {sequence, std::min(tokens, rows), LogitRows::kAll};
  }
  if (tokens < view.remaining()) return {sequence, tokens, LogitRows::kNone};
  // Without a row for its logits the last token waits for the next step.
  if (rows == 0) return {sequence, tokens - 1, LogitRows::kNone};
  return {sequence, tokens, LogitRows::kLast};
}

}  // namespace

void Schedule(std::span<const SequenceView> running, const StepBudget& budget, SchedulePlan* plan) {
  LONGSPAN_CHECK(budget.max_logit_rows >= static_cast<int64_t>(running.size()));
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
  if (budget.chunk_tokens == 0) {
    LONGSPAN_CHECK(!plan->empty());
    return;
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
              return std::tuple(-x.priority, x.remaining(), x.arrival) <
                     std::tuple(-y.priority, y.remaining(), y.arrival);
            });

  double left = 1;  // of the budget
  const SequenceView& eldest_view = running[static_cast<size_t>(eldest)];
  // What the others leave to the eldest prompt while it has had nothing.
  double kept = std::min(kShareOfEldest, static_cast<double>(eldest_view.remaining()) /
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

}  // namespace longspan
