#include "runtime/engine/prefill_pacer.h"

#include <vector>

#include "gtest/gtest.h"
#include "runtime/engine/itl_target.h"

namespace longspan {
namespace {

constexpr double kDecodeSeconds = 0.02, kTokenSeconds = 0.001;

// A machine without noise: 20 ms for the decodes, 1 ms for each token of a prompt. `late`: some steps take
// longer.
class PrefillPacerTest : public testing::Test {
 protected:
  // The tokens that the plan of the next step has of prompts, after a step of it.
  int64_t Step(PrefillPacer& pacer, const std::vector<SequenceView>& running, double late_s = 0) {
    SchedulePlan plan;
    Schedule(running, pacer.NextBudget(running), &plan);
    StepWork work;
    for (const ScheduledChunk& chunk : plan) {
      if (running[static_cast<size_t>(chunk.sequence)].decodes()) {
        ++work.decodes;
      } else {
        work.prefill_tokens += chunk.tokens;
      }
    }
    if (work.decodes > 0) {
      pacer.Observe(work, kDecodeSeconds + kTokenSeconds * static_cast<double>(work.prefill_tokens) + late_s);
    }
    return work.prefill_tokens;
  }
  const SequenceView decoding_ = {.prefill_tokens = 3, .computed_tokens = 3};
  const SequenceView long_prompt_ = {.prefill_tokens = 5000, .arrival = 1};
};

TEST_F(PrefillPacerTest, WithoutDecodesOrATargetChunksAreFull) {
  PrefillPacer strict(0.001, 512, 8);
  EXPECT_EQ(Step(strict, {long_prompt_}), 512);
  PrefillPacer none(kNoItlTarget, 512, 8);
  EXPECT_EQ(Step(none, {decoding_, long_prompt_}), 512);
}

TEST_F(PrefillPacerTest, ChunksGrowToTheTargetAsTheModelLearns) {
  PrefillPacer pacer(0.1, 512, 8);
  std::vector<int64_t> chunks;
  for (int step = 0; step < 20; ++step) chunks.push_back(Step(pacer, {decoding_, long_prompt_}));
  EXPECT_LE(chunks.front(), 4 * PrefillPacer::kLeastChunkTokens);
  for (size_t i = 1; i < chunks.size(); ++i) EXPECT_LE(chunks[i], 4 * chunks[i - 1]);
  EXPECT_NEAR(static_cast<double>(chunks.back()), 80, 4);
  PrefillPacer tight(0.01, 512, 8);
  for (int step = 0; step < 20; ++step) chunks.push_back(Step(tight, {decoding_, long_prompt_}));
  EXPECT_EQ(chunks.back(), PrefillPacer::kLeastChunkTokens);
}

TEST_F(PrefillPacerTest, LeavesRoomForWhatTheModelCannotTell) {
  PrefillPacer pacer(0.1, 512, 8);
  int64_t chunk = 0;
  for (int step = 0; step < 2000; ++step) {
    const int64_t tokens = Step(pacer, {decoding_, long_prompt_}, step % 10 == 0 ? 0.03 : 0);
    if (tokens > 0) chunk = tokens;
  }
  // One step in ten takes 30 ms longer; the model believes in 3 ms for each, and 27 ms are kept free.
  EXPECT_NEAR(static_cast<double>(chunk), 50, 8);
}

TEST_F(PrefillPacerTest, TheAutomaticTargetFollowsTheDecodes) {
  PrefillPacer pacer(kAutoItlTarget, 512, 8);
  for (int step = 0; step < 100; ++step) Step(pacer, {decoding_});
  int64_t chunk = 0;
  for (int step = 0; step < 40; ++step) chunk = Step(pacer, {decoding_, long_prompt_});
  EXPECT_NEAR(static_cast<double>(chunk), (PrefillPacer::kAutoStretch - 1) * kDecodeSeconds / kTokenSeconds,
              1.5);
  // More that wait than decode.
  for (int step = 0; step < 20; ++step) {
    chunk = Step(pacer, {decoding_, long_prompt_, long_prompt_, long_prompt_});
  }
  EXPECT_NEAR(static_cast<double>(chunk),
              3 * (PrefillPacer::kAutoStretch - 1) * kDecodeSeconds / kTokenSeconds, 3.5);
}

TEST_F(PrefillPacerTest, NowAndThenDecodesGoAlone) {
  PrefillPacer pacer(kAutoItlTarget, 512, 8);
  int64_t alone = 0;
  for (int step = 0; step < 10 * (PrefillPacer::kStepsPerProbe + 1); ++step) {
    if (Step(pacer, {decoding_, long_prompt_}) == 0) ++alone;
  }
  EXPECT_EQ(alone, 10);
}

}  // namespace
}  // namespace longspan
