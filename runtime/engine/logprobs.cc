#include "runtime/engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/check.h"

namespace longspan {

PositionLogprobs ComputeLogprobs(std::span<const float> logits, int32_t token, size_t top_count) {
  LONGSPAN_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size());
  const double largest = *std::max_element(logits.begin(), logits.end());
  const double sum = std::accumulate(logits.begin(), logits.end(), 0.0, [largest](double total, float logit) {
    return total + std::exp(double{logit} - largest);
  });
  const double normalizer = largest + std::log(sum);
  const auto logprob_of = [&](int32_t id) {
    return TokenLogprob{id, double{logits[static_cast<size_t>(id)]} - normalizer};
  };
  std::vector<int32_t> best(logits.size());
  std::iota(best.begin(), best.end(), 0);
  best.resize(std::min(top_count, best.size()));
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  // A heap of the best so far, its worst in front.
  std::make_heap(best.begin(), best.end(), likelier);
  for (auto id = static_cast<int32_t>(best.size()); !best.empty() && static_cast<size_t>(id) < logits.size();
       ++id) {
    if (!likelier(id, best.front())) continue;
    std::pop_heap(best.begin(), best.end(), likelier);
    best.back() = id;
    std::push_heap(best.begin(), best.end(), likelier);
  }
  std::sort_heap(best.begin(), best.end(), likelier);
  PositionLogprobs result{logprob_of(token), {}};
  for (const int32_t id : best) result.top.push_back(logprob_of(id));
  return result;
}

}  // namespace longspan
