#include "runtime/engine/prefill_pacer.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "comm/clock.h"
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
    Schedule(running, pacer.NextBudget(running, clock_.Now()), &plan);
    StepWork work;
    for (const ScheduledChunk& chunk : plan) {
      if (running[static_cast<size_t>(chunk.sequence)].decodes()) {
        ++work.decodes;
      } else {
        work.prefill_tokens += chunk.tokens;
      }
    }
    if (work.decodes > 0) {
      const double seconds =
          kDecodeSeconds + kTokenSeconds * static_cast<double>(work.prefill_tokens) + late_s;
      clock_.Advance(std::chrono::round<Clock::Duration>(std::chrono::duration<double>(seconds)));
      pacer.Observe(work, seconds);
      const TokenPace pace = pacer.Release(clock_.Now());
      held_s_ = ToSeconds(pace.most_held);
      releases_.push_back(clock_.Now() + pace.most_held);
    }
    return work.prefill_tokens;
  }
  // The gaps between the last tokens of a stream, in seconds.
  std::vector<double> LastGaps(size_t count) const {
    std::vector<double> gaps;
    for (size_t i = releases_.size() - count; i < releases_.size(); ++i)
      gaps.push_back(ToSeconds(releases_[i] - releases_[i - 1]));
    return gaps;
  }
  // Of prompts, by the next steps.
  std::vector<int64_t> Chunks(PrefillPacer& pacer, const std::vector<SequenceView>& running, int steps) {
    std::vector<int64_t> chunks;
    for (int step = 0; step < steps; ++step) chunks.push_back(Step(pacer, running));
    return chunks;
  }
  ManualClock clock_;
  double held_s_ = 0;  // of the last step's tokens
  std::vector<Clock::Time> releases_;
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
  const std::vector<int64_t> chunks = Chunks(pacer, {decoding_, long_prompt_}, 60);
  int64_t longest = PrefillPacer::kLeastChunkTokens;
  for (const int64_t chunk : chunks) {
    EXPECT_LE(chunk, 4 * longest);
    longest = std::max(longest, chunk);
  }
  // 80 ms of every 100 are free, and in some steps what was held.
  EXPECT_GT(longest, 100);
  const double tokens = std::accumulate(chunks.end() - 40, chunks.end(), 0.0);
  EXPECT_NEAR(tokens / 40, 80, 4);
}

TEST_F(PrefillPacerTest, TokensLeaveEvenlyAndAreHeldForAGapAtMost) {
  PrefillPacer pacer(0.05, 512, 8);
  const std::vector<int64_t> chunks = Chunks(pacer, {decoding_, long_prompt_}, 100);
  EXPECT_NE(std::count(chunks.begin(), chunks.end(), 0), 0);
  EXPECT_GT(*std::max_element(chunks.begin(), chunks.end()), 40);  // longer than a gap
  for (const double gap : LastGaps(50)) {
    EXPECT_GT(gap, 0.04);
    EXPECT_LT(gap, 0.052);
  }
  for (int step = 0; step < 100; ++step) {
    Step(pacer, {decoding_, long_prompt_});
    EXPECT_LE(held_s_, 0.05 + 1e-6);
  }
  Step(pacer, {decoding_});
  EXPECT_EQ(held_s_, 0);
}

TEST_F(PrefillPacerTest, NothingIsHeldThatChunksCannotUse) {
  PrefillPacer pacer(1, 512, 8);
  Chunks(pacer, {decoding_, long_prompt_}, 20);
  EXPECT_EQ(Step(pacer, {decoding_, long_prompt_}), 512);
  EXPECT_EQ(held_s_, 0);
}

TEST_F(PrefillPacerTest, ATargetThatCannotBeMetLeavesPromptsALittle) {
  PrefillPacer tight(0.01, 512, 8);
  Chunks(tight, {decoding_, long_prompt_}, 20);
  for (const int64_t chunk : Chunks(tight, {decoding_, long_prompt_}, 20)) {
    EXPECT_EQ(chunk, PrefillPacer::kLeastChunkTokens);
    EXPECT_EQ(held_s_, 0);
  }
}

// What is held when it comes is enough for it: it shares the next step.
TEST_F(PrefillPacerTest, AShortPromptDoesNotWaitBesideALongOne) {
  PrefillPacer pacer(kAutoItlTarget, 512, 8);
  Chunks(pacer, {decoding_, long_prompt_}, 100);
  const SequenceView short_prompt = {.prefill_tokens = 8, .arrival = 2};
  for (int step = 0; step < 20; ++step) {
    EXPECT_GE(Step(pacer, {decoding_, long_prompt_, short_prompt}), 8);
    Chunks(pacer, {decoding_, long_prompt_}, 5 + step);
  }
}

TEST_F(PrefillPacerTest, LeavesRoomForWhatTheModelCannotTell) {
  PrefillPacer pacer(0.1, 512, 8);
  double tokens = 0;
  for (int step = 0; step < 2000; ++step) {
    const int64_t chunk = Step(pacer, {decoding_, long_prompt_}, step % 10 == 0 ? 0.03 : 0);
    if (step >= 1000) tokens += static_cast<double>(chunk);
  }
  // One step in ten takes 30 ms longer: 3 ms on average.
  EXPECT_NEAR(tokens / 1000, 77, 3);
  for (const double gap : LastGaps(1000)) EXPECT_LE(gap, 0.105);
}

TEST_F(PrefillPacerTest, TheAutomaticTargetFollowsTheDecodes) {
  PrefillPacer pacer(kAutoItlTarget, 512, 8);
  Chunks(pacer, {decoding_}, 100);
  constexpr double kTokens = (PrefillPacer::kAutoStretch - 1) * kDecodeSeconds / kTokenSeconds;
  const auto tokens_per_step = [&](const std::vector<SequenceView>& running) {
    Chunks(pacer, running, 100);
    const std::vector<int64_t> chunks = Chunks(pacer, running, 100);
    return std::accumulate(chunks.begin(), chunks.end(), 0.0) / 100;
  };
  EXPECT_NEAR(tokens_per_step({decoding_, long_prompt_}), kTokens, 0.5);
  // More that wait than decode.
  EXPECT_NEAR(tokens_per_step({decoding_, long_prompt_, long_prompt_, long_prompt_}), 3 * kTokens, 1.5);
}

TEST_F(PrefillPacerTest, NowAndThenDecodesGoAlone) {
  PrefillPacer pacer(1, 512, 8);
  Chunks(pacer, {decoding_, long_prompt_}, 20);
  const std::vector<int64_t> chunks =
      Chunks(pacer, {decoding_, long_prompt_}, 10 * (PrefillPacer::kStepsPerProbe + 1));
  EXPECT_EQ(std::count(chunks.begin(), chunks.end(), 0), 10);
}

}  // namespace
}  // namespace longspan
