#include "runtime/engine/logprobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace longspan {
namespace {

TEST(LogprobsTest, AreTheLogSoftmax) {
  // Of weights 1, 2, 4, 1 the logits are logarithms.
  const std::vector<float> logits = {std::log(1.f) + 7, std::log(2.f) + 7, std::log(4.f) + 7,
                                     std::log(1.f) + 7};
  const PositionLogprobs result = ComputeLogprobs(logits, 1, 3);
  EXPECT_EQ(result.chosen.token, 1);
  EXPECT_NEAR(result.chosen.logprob, std::log(0.25), 1e-6);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].token, 2);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(result.top[1].token, 1);
  EXPECT_EQ(result.top[2].token, 0);  // of equals the lowest id
}

TEST(LogprobsTest, AnyCount) {
  const std::vector<float> logits = {1, 3, 2};
  EXPECT_TRUE(ComputeLogprobs(logits, 0, 0).top.empty());
  EXPECT_EQ(ComputeLogprobs(logits, 0, 20).top.size(), 3u);
}

TEST(LogprobsTest, HugeAndForbiddenLogits) {
  const std::vector<float> logits = {3e38f, -std::numeric_limits<float>::infinity(), -3e38f};
  const PositionLogprobs result = ComputeLogprobs(logits, 1, 1);
  EXPECT_EQ(result.chosen.logprob, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(result.top[0].logprob, 0);
}

TEST(LogprobsTest, TopTokensAreThoseOfASort) {
  std::mt19937 random(5);
  std::uniform_int_distribution<int> values(0, 40);  // many ties
  std::vector<float> logits(1000);
  for (float& logit : logits) logit = static_cast<float>(values(random)) / 8;
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const PositionLogprobs result = ComputeLogprobs(logits, 0, 50);
  double mass = 0;
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(result.top[i].token, order[i]) << i;
  for (const TokenLogprob& token : ComputeLogprobs(logits, 0, 1000).top) mass += std::exp(token.logprob);
  EXPECT_NEAR(mass, 1, 1e-9);
}

}  // namespace
}  // namespace longspan
