#include "runtime/engine/prefill_pacer.h"

#include <algorithm>

#include "runtime/engine/itl_target.h"

namespace longspan {
namespace {

// What errors of the model may change about the time of the prompts.
constexpr double kLeastOfUsual = 0.75, kMostOfUsual = 1.6;

}  // namespace

PrefillPacer::PrefillPacer(double itl_target_s, int64_t chunk_tokens, int64_t max_logit_rows)
    : itl_target_s_(itl_target_s), chunk_tokens_(chunk_tokens), max_logit_rows_(max_logit_rows) {}

void PrefillPacer::UpperError::Add(double error_s, double usual_s) {
  constexpr double kQuantile = 0.95, kPace = 0.02;
  // Rests where one error in twenty is larger.
  seconds_ += kPace * usual_s * (error_s > seconds_ ? kQuantile : kQuantile - 1);
  seconds_ = std::max(0.0, seconds_);
}

double PrefillPacer::PrefillSeconds(double decode_s, int64_t decodes, int64_t prompts) const {
  const double mixed_error_s = mixed_error_.seconds();
  if (itl_target_s_ != kAutoItlTarget) return std::max(0.0, itl_target_s_ - mixed_error_s - decode_s);
  const double usual = (kAutoStretch - 1) * decode_s;
  const double fitting = kAutoStretch * (decode_s + decode_error_.seconds()) - mixed_error_s - decode_s;
  const double crowd = static_cast<double>(prompts) / static_cast<double>(decodes);
  // The errors of either kind may be old: beside a long prompt nearly all steps are mixed.
  return std::clamp(fitting, kLeastOfUsual * usual, kMostOfUsual * usual) * std::max(1.0, crowd);
}

StepBudget PrefillPacer::NextBudget(std::span<const SequenceView> running) {
  StepBudget budget = {.chunk_tokens = chunk_tokens_, .max_logit_rows = max_logit_rows_};
  StepWork decodes;
  int64_t prompts = 0;
  for (const SequenceView& view : running) {
    if (view.decodes()) {
      ++decodes.decodes;
      decodes.decode_context += view.computed_tokens;
      continue;
    }
    ++prompts;
  }
  if (decodes.decodes == 0 || prompts == 0 || itl_target_s_ == kNoItlTarget) return budget;

  budget.chunk_tokens = 0;
  if (steps_since_probe_ >= kStepsPerProbe) return budget;
  budget.chunk_tokens = std::min(chunk_tokens_, model_.trusted_tokens());
  budget.least_tokens = kLeastChunkTokens;
  budget.model = &model_;
  budget.prefill_s = PrefillSeconds(model_.DecodeSeconds(decodes), decodes.decodes, prompts);
  return budget;
}

void PrefillPacer::Observe(const StepWork& work, double seconds) {
  const bool mixed = work.prefill_tokens > 0;
  if (model_.has_observations()) {
    const double predicted_s = model_.DecodeSeconds(work) + model_.PrefillSeconds(work);
    (mixed ? mixed_error_ : decode_error_).Add(seconds - predicted_s, predicted_s);
  }
  model_.Observe(work, seconds);
  steps_since_probe_ = mixed ? steps_since_probe_ + 1 : 0;
}

}  // namespace longspan
