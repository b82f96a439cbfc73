// Log-probabilities of tokens: the logarithm of the softmax of the logits, before any sampling option.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace longspan {

struct TokenLogprob {
  int32_t token = 0;
  double logprob = 0;  // natural logarithm; minus infinity for a logit of minus infinity
};

struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // the likeliest tokens, best first; of equals the lowest id first
};

// Of the position whose logits, [vocab], chose `token`. `top_count` may exceed the vocabulary. Sums in
// float64 in the order of ids, so equal logits give equal bits. A pure function.
PositionLogprobs ComputeLogprobs(std::span<const float> logits, int32_t token, size_t top_count);

}  // namespace longspan
