// Sizes the chunks of prompts beside decodes, so that the gaps of running streams keep to a target: the time
// until a new request's first token against the pace of those that have theirs.
//
// Gaps vary, and what a target bounds is their upper end: the time that is left free for that is learned from
// the model's errors, apart for steps with and without prompts.
//   * A target in seconds: chunks get what it leaves beside the decodes.
//   * kAutoItlTarget: the upper end of the gaps is kAutoStretch times what it is without prompts. Prompts
//   then
//     go on at a third of their pace alone. More of the time is theirs when more requests wait for their
//     first token than for their next one, so that a crowd is not let in one by one.
//   * kNoItlTarget: chunks are always full, as they are without decodes.
// Every kStepsPerProbe steps one computes no prompts, to see what the decodes cost alone. Threads: one thread
// at a time.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/engine/scheduler.h"
#include "runtime/engine/step_time_model.h"

namespace longspan {

class PrefillPacer {
 public:
  static constexpr double kAutoStretch = 1.47;
  static constexpr int64_t kLeastChunkTokens = 4;  // prompts go on by so much, whatever the target
  static constexpr int64_t kStepsPerProbe = 64;

  // Times are 0, kAutoItlTarget, or positive; itl_target.h.
  PrefillPacer(double itl_target_s, int64_t chunk_tokens, int64_t max_logit_rows);

  // Of the next step of `running`. Refers to this pacer.
  StepBudget NextBudget(std::span<const SequenceView> running);
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
  double PrefillSeconds(double decode_s, int64_t decodes, int64_t prompts) const;

  const double itl_target_s_;
  const int64_t chunk_tokens_, max_logit_rows_;
  StepTimeModel model_;
  UpperError decode_error_, mixed_error_;  // of steps of decodes alone, and with prompts
  int64_t steps_since_probe_ = 0;
};

}  // namespace longspan
