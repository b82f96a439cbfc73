// Sizes the chunks of prompts beside decodes, so that the gaps of running streams keep to a target: the time
// until a new request's first token against the pace of those that have theirs.
//
// Small chunks are dear: each reads the KV of its prompt once more. So while prompts are computed, tokens
// leave by the target's pace, and those computed sooner are held (token_pace.h). The time so gained pays for
// a chunk that takes longer than a gap: some steps compute decodes alone, and then one has a large chunk, in
// whose time the streams live on what was held. No token is held for longer than a gap.
//
// Times vary, and what a target bounds is their upper end: room for that is learned from the model's errors,
// apart for steps with and without prompts.
//   * A target in seconds: the gap, on average.
//   * kAutoItlTarget: kAutoStretch times the upper end of the gaps without prompts. More of the time is the
//   prompts' when more requests wait for their first token than for their next one, so that a crowd is not
//   let in one by one.
//   * kNoItlTarget: chunks are always full, as they are without decodes.
// A target that leaves nothing beside the decodes is missed: prompts then go on by kLeastChunkTokens a step.
// Every kStepsPerProbe steps one computes no prompts, to see what the decodes cost alone. Threads: one thread
// at a time.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/engine/scheduler.h"
#include "runtime/engine/step_time_model.h"
#include "runtime/engine/token_pace.h"

namespace longspan {

class PrefillPacer {
 public:
  static constexpr double kAutoStretch = 1.35;
  static constexpr int64_t kLeastChunkTokens = 4;  // prompts go on by so much, whatever the target
  static constexpr int64_t kStepsPerProbe = 64;

  // Times are 0, kAutoItlTarget, or positive; itl_target.h.
  PrefillPacer(double itl_target_s, int64_t chunk_tokens, int64_t max_logit_rows);

  // Of the next step of `running`, which begins now. Refers to this pacer.
  StepBudget NextBudget(std::span<const SequenceView> running, Clock::Time now);
  // How the tokens of that step leave, which were computed now.
  TokenPace Release(Clock::Time now);
  // A step with one decode or more took so long.
  void Observe(const StepWork& work, double seconds);

  const StepTimeModel& model() const { return model_; }

 private:
  // How far times exceed what the model says: 19 of 20 by less.
  class UpperError {
   public:
    void Add(double error_s, double usual_s);
    double seconds() const { return seconds_; }

   private:
    double seconds_ = 0;
  };
  double TargetGap(double decode_s) const;

  const double itl_target_s_;
  const int64_t chunk_tokens_, max_logit_rows_;
  StepTimeModel model_;
  UpperError decode_error_, mixed_error_;  // of steps of decodes alone, and with prompts
  int64_t steps_since_probe_ = 0;
  TokenPace pace_;       // of the next step's tokens; 0 while no prompt is computed
  Clock::Time release_;  // when the last step's tokens leave
};

}  // namespace longspan
