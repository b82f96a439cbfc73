#include "runtime/engine/scheduler.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace longspan {
namespace {

bool operator==(const ScheduledChunk& a, const ScheduledChunk& b) {
  return a.sequence == b.sequence && a.tokens == b.tokens && a.logits == b.logits;
}

void ExpectPlan(const std::vector<SequenceView>& running, const StepBudget& budget,
                const SchedulePlan& expected) {
  SchedulePlan plan;
  Schedule(running, budget, &plan);
  ASSERT_EQ(plan.size(), expected.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_TRUE(plan[i] == expected[i])
        << "entry " << i << ": sequence " << plan[i].sequence << " tokens " << plan[i].tokens;
  }
}

TEST(SchedulerTest, DecodesComeFirstAndOnTopOfTheBudget) {
  ExpectPlan({{.prompt_tokens = 100},
              {.prompt_tokens = 5, .computed_tokens = 5},
              {.prompt_tokens = 3, .computed_tokens = 9}},
             {.chunk_tokens = 8, .max_logit_rows = 8},
             {{1, 1, LogitRows::kLast}, {2, 1, LogitRows::kLast}, {0, 8, LogitRows::kNone}});
}

TEST(SchedulerTest, PromptsShareTheBudgetInOrderOfArrival) {
  ExpectPlan({{.prompt_tokens = 10, .computed_tokens = 7},
              {.prompt_tokens = 4},
              {.prompt_tokens = 50},
              {.prompt_tokens = 1}},
             {.chunk_tokens = 10, .max_logit_rows = 8},
             {{0, 3, LogitRows::kLast}, {1, 4, LogitRows::kLast}, {2, 3, LogitRows::kNone}});
}

TEST(SchedulerTest, PromptLogitsAreBoundedByTheRowsThatAreLeft) {
  ExpectPlan({{.prompt_tokens = 3, .computed_tokens = 3}, {.prompt_tokens = 20, .prompt_logits = true}},
             {.chunk_tokens = 100, .max_logit_rows = 6}, {{0, 1, LogitRows::kLast}, {1, 5, LogitRows::kAll}});
}

TEST(SchedulerTest, WithoutARowTheLastTokenOfAPromptWaits) {
  ExpectPlan({{.prompt_tokens = 20, .prompt_logits = true},
              {.prompt_tokens = 5},
              {.prompt_tokens = 5, .computed_tokens = 4},
              {.prompt_tokens = 9, .prompt_logits = true}},
             {.chunk_tokens = 100, .max_logit_rows = 4}, {{0, 4, LogitRows::kAll}, {1, 4, LogitRows::kNone}});
}

TEST(SchedulerTest, RandomPlansKeepTheBudgetAndLeaveNobodyOut) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::vector<SequenceView> running(1 + random() % 10);
    for (SequenceView& view : running) {
      view.prompt_tokens = 1 + static_cast<int64_t>(random() % 40);
      view.computed_tokens = static_cast<int64_t>(random() % 50);
      view.prompt_logits = random() % 4 == 0;
    }
    const StepBudget budget = {.chunk_tokens = 1 + static_cast<int64_t>(random() % 30),
                               .max_logit_rows = static_cast<int64_t>(running.size() + random() % 10)};
    SchedulePlan plan;
    Schedule(running, budget, &plan);
    int64_t prompt_tokens = 0;
    int64_t rows = 0;
    std::vector<bool> scheduled(running.size());
    for (const ScheduledChunk& chunk : plan) {
      const SequenceView& view = running[static_cast<size_t>(chunk.sequence)];
      ASSERT_FALSE(scheduled[static_cast<size_t>(chunk.sequence)]);
      scheduled[static_cast<size_t>(chunk.sequence)] = true;
      ASSERT_GE(chunk.tokens, 1);
      rows += chunk.logits == LogitRows::kAll ? chunk.tokens : chunk.logits == LogitRows::kLast ? 1 : 0;
      if (view.computed_tokens >= view.prompt_tokens) {
        EXPECT_TRUE(chunk.tokens == 1 && chunk.logits == LogitRows::kLast);
        continue;
      }
      prompt_tokens += chunk.tokens;
      const bool ends = view.computed_tokens + chunk.tokens == view.prompt_tokens;
      ASSERT_LE(view.computed_tokens + chunk.tokens, view.prompt_tokens);
      EXPECT_EQ(chunk.logits, view.prompt_logits ? LogitRows::kAll
                              : ends             ? LogitRows::kLast
                                                 : LogitRows::kNone);
    }
    EXPECT_LE(prompt_tokens, budget.chunk_tokens);
    EXPECT_LE(rows, budget.max_logit_rows);
    bool first_prompt = true;
    for (size_t i = 0; i < running.size(); ++i) {
      const bool decodes = running[i].computed_tokens >= running[i].prompt_tokens;
      if (decodes || first_prompt) {
        EXPECT_TRUE(scheduled[i]) << "sequence " << i << " stands still";
      }
      if (!decodes) first_prompt = false;
    }
  }
}

TEST(SchedulerTest, AdmissionNeedsASlotAndTheWholeDemand) {
  const auto blocks =
      *BlockManager::Create({.block_size = 4, .kvp = 2, .groups = {{}}, .pages_per_rank = {2, 2}});
  EXPECT_EQ(Admit(12, 4, *blocks, 1), 0);
  EXPECT_EQ(Admit(12, 4, *blocks, 0), std::nullopt);
  EXPECT_EQ(Admit(17, 4, *blocks, 1), std::nullopt);
  BlockTable table = blocks->Reserve(12, 4, 0);  // two blocks on rank 0, one on rank 1
  EXPECT_EQ(Admit(5, 4, *blocks, 1), std::nullopt);
  EXPECT_EQ(Admit(4, 4, *blocks, 1), 1);
  blocks->Free(table);
}

}  // namespace
}  // namespace longspan
