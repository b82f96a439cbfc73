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
  ExpectPlan({{.prefill_tokens = 100},
              {.prefill_tokens = 5, .computed_tokens = 5},
              {.prefill_tokens = 3, .computed_tokens = 9}},
             {.chunk_tokens = 8, .max_logit_rows = 8},
             {{1, 1, LogitRows::kLast}, {2, 1, LogitRows::kLast}, {0, 8, LogitRows::kNone}});
}

TEST(SchedulerTest, ThePromptWithLeastLeftGoesFirst) {
  ExpectPlan({{.prefill_tokens = 10, .computed_tokens = 7, .arrival = 1},
              {.prefill_tokens = 4, .arrival = 2},
              {.prefill_tokens = 50, .arrival = 3},
              {.prefill_tokens = 1, .arrival = 4}},
             {.chunk_tokens = 10, .max_logit_rows = 8},
             {{3, 1, LogitRows::kLast},
              {0, 3, LogitRows::kLast},
              {1, 4, LogitRows::kLast},
              {2, 2, LogitRows::kNone}});
}

TEST(SchedulerTest, AQuarterBelongsToThePromptThatArrivedFirst) {
  ExpectPlan({{.prefill_tokens = 900, .arrival = 2},
              {.prefill_tokens = 1000, .arrival = 1},
              {.prefill_tokens = 20, .arrival = 3}},
             {.chunk_tokens = 40, .max_logit_rows = 8},
             {{2, 20, LogitRows::kLast}, {0, 10, LogitRows::kNone}, {1, 10, LogitRows::kNone}});
  // Of which it takes what it can use.
  ExpectPlan({{.prefill_tokens = 900, .arrival = 2, .priority = 1},
              {.prefill_tokens = 1000, .computed_tokens = 998, .arrival = 1}},
             {.chunk_tokens = 40, .max_logit_rows = 8},
             {{0, 38, LogitRows::kNone}, {1, 2, LogitRows::kLast}});
}

TEST(SchedulerTest, PriorityGoesBeforeLength) {
  ExpectPlan({{.prefill_tokens = 50, .arrival = 1},
              {.prefill_tokens = 20, .arrival = 2},
              {.prefill_tokens = 60, .arrival = 3, .priority = 1}},
             {.chunk_tokens = 40, .max_logit_rows = 8},
             {{2, 30, LogitRows::kNone}, {0, 10, LogitRows::kNone}});
}

TEST(SchedulerTest, PromptLogitsAreBoundedByTheRowsThatAreLeft) {
  ExpectPlan({{.prefill_tokens = 3, .computed_tokens = 3}, {.prefill_tokens = 20, .prompt_logits = true}},
             {.chunk_tokens = 100, .max_logit_rows = 6}, {{0, 1, LogitRows::kLast}, {1, 5, LogitRows::kAll}});
}

TEST(SchedulerTest, LogitsThatWereDeliveredAreNotAskedForAgain) {
  const StepBudget budget = {.chunk_tokens = 100, .max_logit_rows = 8};
  ExpectPlan({{.prefill_tokens = 20, .prompt_logits = true, .logits_from = 15}}, budget,
             {{0, 8, LogitRows::kNone}});  // its KV is reserved for chunks of 8
  ExpectPlan({{.prefill_tokens = 20, .computed_tokens = 8, .prompt_logits = true, .logits_from = 15}}, budget,
             {{0, 7, LogitRows::kNone}});
  ExpectPlan({{.prefill_tokens = 20, .computed_tokens = 15, .prompt_logits = true, .logits_from = 15}},
             budget, {{0, 5, LogitRows::kAll}});
}

TEST(SchedulerTest, WithoutARowTheLastTokenOfAPromptWaits) {
  ExpectPlan({{.prefill_tokens = 9, .prompt_logits = true, .arrival = 3},
              {.prefill_tokens = 5, .arrival = 2},
              {.prefill_tokens = 20, .arrival = 1}},
             {.chunk_tokens = 100, .max_logit_rows = 3},
             {{1, 5, LogitRows::kLast}, {0, 1, LogitRows::kAll}, {2, 20, LogitRows::kLast}});
  ExpectPlan({{.prefill_tokens = 9, .prompt_logits = true, .arrival = 1},
              {.prefill_tokens = 15, .arrival = 2},
              {.prefill_tokens = 15, .computed_tokens = 14, .arrival = 3},
              {.prefill_tokens = 9, .prompt_logits = true, .arrival = 4}},
             {.chunk_tokens = 100, .max_logit_rows = 4},
             {{2, 1, LogitRows::kLast}, {0, 3, LogitRows::kAll}, {1, 14, LogitRows::kNone}});
}

// A machine on which a decode takes 10 ms + 1 ms each, a token of a prompt 1 ms at position 0 and 3 ms at
// 20,000.
StepTimeModel LearnedModel() {
  StepTimeModel model;
  std::mt19937 random(1);
  for (int i = 0; i < 400; ++i) {
    StepWork work = {.decodes = 1 + static_cast<int64_t>(random() % 8)};
    if (i % 2 == 1) {
      work.prefill_tokens = static_cast<int64_t>(random() % 200);
      work.prefill_prefix = work.prefill_tokens * static_cast<int64_t>(random() % 20000);
    }
    model.Observe(work, 0.010 + 0.001 * static_cast<double>(work.decodes) +
                            0.001 * static_cast<double>(work.prefill_tokens) +
                            0.002 / 20000 * static_cast<double>(work.prefill_prefix));
  }
  return model;
}

TEST(SchedulerTest, BesideDecodesTheTimeOfChunksIsBounded) {
  const StepTimeModel model = LearnedModel();
  std::vector<SequenceView> running = {{.prefill_tokens = 3, .computed_tokens = 3},
                                       {.prefill_tokens = 20100, .computed_tokens = 20000, .arrival = 1}};
  const auto plan_for = [&](double prefill_s) {
    SchedulePlan plan;
    Schedule(running,
             {.chunk_tokens = 512,
              .max_logit_rows = 8,
              .prefill_s = prefill_s,
              .least_tokens = 5,
              .model = &model},
             &plan);
    return plan;
  };
  EXPECT_EQ(plan_for(1)[1].tokens, 100);
  EXPECT_NEAR(static_cast<double>(plan_for(0.09)[1].tokens), 30, 2);  // 3 ms each
  EXPECT_EQ(plan_for(0.001)[1].tokens, 5);
  EXPECT_EQ(plan_for(0)[1].tokens, 5);
  // A short one takes a part of the time, at its own cost.
  running.push_back({.prefill_tokens = 20, .arrival = 2});
  const SchedulePlan plan = plan_for(0.09);
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_TRUE((plan[1] == ScheduledChunk{2, 20, LogitRows::kLast}));
  EXPECT_NEAR(static_cast<double>(plan[2].tokens), 23, 2);
}

TEST(SchedulerTest, WithoutAChunkDecodesGoOnAlone) {
  ExpectPlan({{.prefill_tokens = 3, .computed_tokens = 3}, {.prefill_tokens = 20}},
             {.chunk_tokens = 0, .max_logit_rows = 8}, {{0, 1, LogitRows::kLast}});
}

TEST(SchedulerTest, RandomPlansKeepTheBudgetAndLeaveNobodyOut) {
  const StepTimeModel model = LearnedModel();
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::vector<SequenceView> running(1 + random() % 10);
    for (size_t i = 0; i < running.size(); ++i) {
      SequenceView& view = running[i];
      view.prefill_tokens = 1 + static_cast<int64_t>(random() % 40);
      view.computed_tokens = static_cast<int64_t>(random() % 50);
      view.prompt_logits = random() % 4 == 0;
      if (view.prompt_logits && random() % 2 == 0) {
        view.logits_from = static_cast<int64_t>(random() % static_cast<unsigned>(view.prefill_tokens));
      }
      view.arrival = static_cast<int64_t>((i * 7 + seed) % running.size());
      view.priority = static_cast<int>(random() % 3);
    }
    StepBudget budget = {.chunk_tokens = 1 + static_cast<int64_t>(random() % 30),
                         .max_logit_rows = static_cast<int64_t>(running.size() + random() % 10)};
    if (random() % 2 == 0) {
      budget.prefill_s = 0.001 * static_cast<double>(random() % 40);
      budget.model = &model;
    }
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
      if (view.decodes()) {
        EXPECT_TRUE(chunk.tokens == 1 && chunk.logits == LogitRows::kLast);
        continue;
      }
      prompt_tokens += chunk.tokens;
      const int64_t end = view.computed_tokens + chunk.tokens;
      ASSERT_LE(end, view.prefill_tokens);
      if (view.prompt_logits) {
        EXPECT_EQ(chunk.logits,
                  view.computed_tokens >= view.logits_from ? LogitRows::kAll : LogitRows::kNone);
        EXPECT_TRUE(chunk.logits == LogitRows::kAll || end <= view.logits_from);
        EXPECT_LE(chunk.tokens, budget.max_logit_rows);
      } else {
        EXPECT_EQ(chunk.logits, end == view.prefill_tokens ? LogitRows::kLast : LogitRows::kNone);
      }
    }
    EXPECT_LE(prompt_tokens, budget.chunk_tokens);
    EXPECT_LE(rows, budget.max_logit_rows);
    const auto eldest = std::min_element(running.begin(), running.end(), [](const auto& a, const auto& b) {
      return std::pair(a.decodes(), a.arrival) < std::pair(b.decodes(), b.arrival);
    });
    for (size_t i = 0; i < running.size(); ++i) {
      if (running[i].decodes() || &running[i] == &*eldest) {
        EXPECT_TRUE(scheduled[i]) << "sequence " << i << " stands still";
      }
    }
  }
}

}  // namespace
}  // namespace longspan
