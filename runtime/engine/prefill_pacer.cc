#include "runtime/engine/prefill_pacer.h"

#include <algorithm>

#include "runtime/engine/itl_target.h"

namespace longspan {
namespace {

// Of what the decodes take: what the target follows of the times' upper end.
constexpr double kMostError = 0.2;
constexpr double kMostGapSeconds = 1e6;  // of targets, which must fit a Clock::Duration
// Of the longest time that tokens are held: what long prompts leave to short ones.
constexpr double kKeptShare = 0.5;

}  // namespace

PrefillPacer::PrefillPacer(double itl_target_s, int64_t chunk_tokens, int64_t max_logit_rows)
    : itl_target_s_(itl_target_s), chunk_tokens_(chunk_tokens), max_logit_rows_(max_logit_rows) {}

void PrefillPacer::UpperError::Add(double error_s, double usual_s) {
  constexpr double kQuantile = 0.95, kPace = 0.02;
  // Rests where one error in twenty is larger.
  seconds_ += kPace * usual_s * (error_s > seconds_ ? kQuantile : kQuantile - 1);
  seconds_ = std::max(0.0, seconds_);
}

double PrefillPacer::TargetGap(double decode_s) const {
  if (itl_target_s_ != kAutoItlTarget) return std::min(itl_target_s_, kMostGapSeconds);
  return kAutoStretch * (decode_s + std::min(decode_error_.seconds(), kMostError * decode_s));
}

TokenPace PrefillPacer::Release(Clock::Time now) {
  release_ = pace_.After(release_, now);
  return {pace_.gap, release_ - now};
}

StepBudget PrefillPacer::NextBudget(std::span<const SequenceView> running, Clock::Time now) {
  StepBudget budget = {.chunk_tokens = chunk_tokens_, .max_logit_rows = max_logit_rows_};
  StepWork decodes;
  int64_t prompts = 0;
  const SequenceView *shortest = nullptr, *longest = nullptr;
  for (const SequenceView& view : running) {
    if (view.decodes()) {
      ++decodes.decodes;
      decodes.decode_context += view.computed_tokens;
      continue;
    }
    ++prompts;
    if (shortest == nullptr || view.remaining() < shortest->remaining()) shortest = &view;
    if (longest == nullptr || view.remaining() > longest->remaining()) longest = &view;
  }
  pace_ = {};
  if (decodes.decodes == 0 || prompts == 0 || itl_target_s_ == kNoItlTarget) return budget;

  const int64_t most_tokens = std::min(chunk_tokens_, model_.trusted_tokens());
  const auto chunk_s = [&](const SequenceView& view) {
    return model_.TokenSeconds(view.computed_tokens) *
           static_cast<double>(std::min(most_tokens, view.remaining()));
  };
  const double decode_s = model_.DecodeSeconds(decodes), target_s = TargetGap(decode_s);
  double gain_s = target_s - decode_s;  // of a step without prompts
  if (itl_target_s_ == kAutoItlTarget) {
    gain_s *= std::max(1.0, static_cast<double>(prompts) / static_cast<double>(decodes.decodes));
  }
  // Nothing is held that a chunk could not use.
  const double most_held_s =
      std::clamp(chunk_s(*longest) + mixed_error_.seconds() - gain_s, 0.0, std::max(0.0, target_s));
  pace_ = {FromSeconds(decode_s + gain_s), FromSeconds(most_held_s)};
  budget.chunk_tokens = 0;
  if (steps_since_probe_ >= kStepsPerProbe) return budget;

  // A prompt that can end is computed at once, with a quarter for the eldest beside it; others wait until
  // much is held, and leave a part to those that can end.
  const double held_s = std::max(0.0, ToSeconds(release_ - now));
  const double free_s = held_s + gain_s - mixed_error_.seconds();  // nobody notices
  const double needed_s = chunk_s(*shortest) / (1 - kShareOfEldest);
  const bool fits = needed_s <= free_s;
  const bool can_save = gain_s > model_.TokenSeconds(shortest->computed_tokens) * kLeastChunkTokens &&
                        held_s + gain_s < most_held_s;
  if (!fits && can_save) return budget;
  budget.chunk_tokens = most_tokens;
  budget.least_tokens = kLeastChunkTokens;
  budget.model = &model_;
  budget.prefill_s = std::max({0.0, free_s - kKeptShare * most_held_s, fits ? needed_s : 0.0});
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
