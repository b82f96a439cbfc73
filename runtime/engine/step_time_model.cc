#include "runtime/engine/step_time_model.h"

#include <algorithm>

#include "kernels/check.h"

namespace longspan {
namespace {

constexpr double kUsualDecodes = 4;
constexpr double kUsualTokens = 16;     // of a chunk beside decodes
constexpr double kUsualContext = 8192;  // positions

constexpr double kMeasurementError = 0.1;  // standard deviation, relative
constexpr double kDriftPerStep = 0.005;    // likewise, of a coefficient

}  // namespace

StepTimeModel::Vector StepTimeModel::Features(const StepWork& work) {
  return {1, static_cast<double>(work.decodes) / kUsualDecodes,
          static_cast<double>(work.decode_context) / (kUsualDecodes * kUsualContext),
          static_cast<double>(work.prefill_tokens) / kUsualTokens,
          static_cast<double>(work.prefill_prefix) / (kUsualTokens * kUsualContext)};
}

double StepTimeModel::Predict(const Vector& features) const {
  double seconds = 0;
  for (size_t i = 0; i < kTerms; ++i) seconds += coefficients_[i] * features[i];
  return seconds;
}

double StepTimeModel::DecodeSeconds(const StepWork& work) const {
  StepWork alone = work;
  alone.prefill_tokens = alone.prefill_prefix = 0;
  return Predict(Features(alone));
}

double StepTimeModel::PrefillSeconds(const StepWork& work) const {
  return Predict(Features(work)) - DecodeSeconds(work);
}

double StepTimeModel::TokenSeconds(int64_t prefix) const {
  return PrefillSeconds({.prefill_tokens = 1, .prefill_prefix = prefix});
}

void StepTimeModel::Drift() {
  for (size_t i = 0; i < kTerms; ++i) {
    const double square = coefficients_[i] * coefficients_[i];
    // What is as uncertain as it is large stays so, however long nothing tells about it.
    if (covariance_[i][i] < square) covariance_[i][i] += kDriftPerStep * kDriftPerStep * square;
  }
}

void StepTimeModel::Observe(const StepWork& work, double seconds) {
  LONGSPAN_CHECK(work.decodes > 0 && seconds > 0);
  const Vector features = Features(work);
  longest_chunk_ = std::max(longest_chunk_, work.prefill_tokens);
  if (observations_++ == 0) {
    // Nothing is known but the size of things; a usual chunk may cost as much as all that was measured.
    coefficients_ = {seconds, 0, 0, seconds, 0};
    for (size_t i = 0; i < kTerms; ++i) covariance_[i][i] = seconds * seconds;
  } else {
    Drift();
  }
  Vector gain{};  // covariance * features, then divided by the variance of the prediction's error
  double variance = kMeasurementError * kMeasurementError * seconds * seconds;
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) gain[i] += covariance_[i][j] * features[j];
    variance += gain[i] * features[i];
  }
  const double error = seconds - Predict(features);
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      covariance_[i][j] -= gain[i] * gain[j] / variance;
      covariance_[j][i] = covariance_[i][j];
    }
  }
  // No work takes less than no time.
  for (size_t i = 0; i < kTerms; ++i) {
    coefficients_[i] = std::max(0.0, coefficients_[i] + gain[i] / variance * error);
  }
}

}  // namespace longspan
