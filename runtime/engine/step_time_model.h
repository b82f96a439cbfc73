// How long a step with decodes takes, learned from the steps that were run.
//
//   seconds = a + b * decodes + c * their contexts + tokens of prompts * (d + e * prefix)
//
// A Kalman filter over (a, b, c, d, e), which drift as the machine does: each step corrects what it tells
// about, in proportion to how little was known, and leaves the rest. Errors count relative to the time
// measured, so that a step that was held up for long weighs little. Threads: one thread at a time.
#pragma once

#include <array>
#include <cstdint>

namespace longspan {

struct StepWork {
  int64_t decodes = 0;
  int64_t decode_context = 0;  // positions before the decodes, in all
  int64_t prefill_tokens = 0;
  int64_t prefill_prefix = 0;  // positions before a token's chunk, summed over the prefill tokens
};

class StepTimeModel {
 public:
  // A step of `work` with one decode or more took so long; seconds > 0.
  void Observe(const StepWork& work, double seconds);

  // False until the first observation: then all times are 0.
  bool has_observations() const { return observations_ > 0; }
  double DecodeSeconds(const StepWork& work) const;   // of its decodes, without its prefill tokens
  double PrefillSeconds(const StepWork& work) const;  // what its prefill tokens add
  // The same for one token whose chunk begins at position `prefix`.
  double TokenSeconds(int64_t prefix) const;

  // The longest chunk to believe the model about: four times the longest that was seen beside decodes.
  int64_t trusted_tokens() const { return 4 * longest_chunk_; }

 private:
  static constexpr int kTerms = 5;
  using Vector = std::array<double, kTerms>;
  // Each near 1 for a usual step, so that the coefficients, in seconds, are of one size.
  static Vector Features(const StepWork& work);
  double Predict(const Vector& features) const;
  void Drift();

  Vector coefficients_{};
  std::array<Vector, kTerms> covariance_{};
  int64_t observations_ = 0;
  int64_t longest_chunk_ = 4;
};

}  // namespace longspan
