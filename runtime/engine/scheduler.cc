#include "runtime/engine/scheduler.h"

#include <algorithm>

#include "kernels/check.h"

namespace longspan {
namespace {

bool Decodes(const SequenceView& view) { return view.computed_tokens >= view.prompt_tokens; }

}  // namespace

void Schedule(std::span<const SequenceView> running, const StepBudget& budget, SchedulePlan* plan) {
  LONGSPAN_CHECK(budget.chunk_tokens >= 1 && budget.max_logit_rows >= static_cast<int64_t>(running.size()));
  plan->clear();
  int64_t tokens_left = budget.chunk_tokens;
  int64_t rows_left = budget.max_logit_rows;
  for (size_t i = 0; i < running.size(); ++i) {
    if (!Decodes(running[i])) continue;
    plan->push_back({static_cast<int32_t>(i), 1, LogitRows::kLast});
    --rows_left;
  }
  for (size_t i = 0; i < running.size() && tokens_left > 0; ++i) {
    const SequenceView& view = running[i];
    if (Decodes(view)) continue;
    const int64_t remaining = view.prompt_tokens - view.computed_tokens;
    int64_t tokens = std::min(remaining, tokens_left);
    LogitRows logits = LogitRows::kNone;
    if (view.prompt_logits) {
      tokens = std::min(tokens, rows_left);
      logits = LogitRows::kAll;
    } else if (tokens == remaining) {
      // Without a row for its logits the last token waits for the next step.
      logits = rows_left > 0 ? LogitRows::kLast : LogitRows::kNone;
      if (rows_left == 0) --tokens;
    }
    if (tokens == 0) continue;
    plan->push_back({static_cast<int32_t>(i), tokens, logits});
    tokens_left -= tokens;
    if (logits != LogitRows::kNone) rows_left -= logits == LogitRows::kAll ? tokens : 1;
  }
}

std::optional<int> Admit(int64_t total_tokens, int64_t chunk_tokens, const BlockManager& blocks,
                         int free_slots) {
  if (free_slots == 0) return std::nullopt;
  const int shift = blocks.ChooseShift(total_tokens, chunk_tokens);
  if (!blocks.CanReserve(total_tokens, chunk_tokens, shift)) return std::nullopt;
  return shift;
}

}  // namespace longspan
