// Chooses the next token from its logits.
//
// The logits pass through, in this order: mask, bias, penalties, temperature, top-k, top-p, min-p; then one
// token is drawn.
//   * mask: a token that is not allowed has no logit, whatever its bias.
//   * bias: added to the token's logit.
//   * repetition penalty r (arXiv 1909.05858): logits of tokens in prompt or output are divided by r when
//   positive,
//     multiplied by r otherwise. Presence and frequency penalties: subtracted once, and once for each
//     occurrence, from tokens in the output.
//   * temperature T: logits are divided by T. 0 is greedy: the largest logit, and nothing below applies.
//   * top-k keeps the k largest logits; top-p the fewest most probable tokens that together have probability
//   p or
//     more, and at least one; min-p the tokens that are at least p times as probable as the most probable
//     one.
// Of equal logits the token with the lowest id counts as larger, everywhere.
//
// The same arguments give the same token on any machine, and nothing else of a batch takes part:
// probabilities are taken relative to the most probable token and rounded to multiples of 2^-44, so that sums
// are integers and exact in any order; the exponential is our own, of IEEE operations in a fixed order;
// random numbers are Philox of (seed, position). The rounding moves at most 2^-45 of probability a token, and
// cuts off tokens below that.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/engine/request.h"
#include "runtime/engine/token_counts.h"

namespace longspan {

// The largest vocabulary whose sums of probabilities fit 64 bits.
inline constexpr int64_t kMaxVocabSize = (int64_t{1} << 20) - 1;

// InvalidArgument names the value that is out of its range, and the range.
absl::Status ValidateSampling(const SamplingParams& params, int64_t vocab_size);

// The seed of a request that brings none.
uint64_t DeriveSeed(uint64_t engine_seed, RequestId id);

// Whether Sample looks at its TokenCounts for these parameters.
bool UsesTokenCounts(const SamplingParams& params);

// Keeps work space only: Sample is a pure function of its arguments. Threads: one thread at a time.
class Sampler {
 public:
  // vocab_size: 1 to kMaxVocabSize.
  explicit Sampler(int64_t vocab_size);
  Sampler(Sampler&&) = default;  // a copy would lack reserved memory
  Sampler& operator=(Sampler&&) = default;

  // The token at `position`. logits: [vocab_size], before any adjustment. allowed: a bit for each token as in
  // TokenConstraint, or empty: all. An error when a logit is NaN, or
  // when none or an infinite one is largest: the model's output is broken, and no token would be right.
  absl::StatusOr<int32_t> Sample(std::span<const float> logits, const SamplingParams& params, uint64_t seed,
                                 int64_t position, const TokenCounts& counts,
                                 std::span<const uint64_t> allowed = {});

 private:
  std::span<const float> Adjust(std::span<const float> logits, const SamplingParams& params,
                                const TokenCounts& counts, std::span<const uint64_t> allowed);
  void SetWeights(std::span<const float> logits, float largest, double temperature);
  void SetTopKWeights(std::span<const float> logits, float largest, double temperature, int64_t top_k);
  void KeepTopP(std::span<const float> logits, double top_p);
  void KeepMinP(double min_p);
  int32_t Draw(uint64_t random_bits) const;

  std::vector<float> adjusted_;    // [vocab_size]
  std::vector<uint64_t> weights_;  // [vocab_size], probability in units of 2^-44 of the largest; 0 = left out
  std::vector<uint64_t> rankings_;  // of the tokens that a selection looks at
};

}  // namespace longspan
