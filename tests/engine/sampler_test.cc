#include "runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace longspan {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(unsigned seed, size_t vocab, float deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(vocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// The probabilities that the header promises, by sorting and in double.
std::vector<double> ReferenceProbabilities(const std::vector<float>& logits, const SamplingParams& params,
                                           const TokenCounts& counts = {}) {
  std::vector<double> adjusted(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) adjusted[static_cast<size_t>(token)] += bias;
  for (const auto& [token, output_count] : counts.output_counts()) {
    double& logit = adjusted[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (output_count > 0) {
      logit -= params.presence_penalty + params.frequency_penalty * static_cast<double>(output_count);
    }
  }
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return adjusted[a] > adjusted[b]; });
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  std::vector<double> weights;
  for (const size_t token : order) {
    weights.push_back(std::exp((adjusted[token] - adjusted[order[0]]) / params.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double mass = 0;
  std::vector<double> probabilities(logits.size(), 0);
  for (size_t i = 0; i < order.size() && (i == 0 || mass < params.top_p * total); ++i) {
    mass += weights[i];
    if (weights[i] >= params.min_p) probabilities[order[i]] = weights[i];
  }
  const double kept = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  for (double& probability : probabilities) probability /= kept;
  return probabilities;
}

// Draws at many positions and compares the counts with the probabilities (chi-squared).
void ExpectDistribution(const std::vector<float>& logits, const SamplingParams& params,
                        const TokenCounts& counts = {}) {
  constexpr int kDraws = 20000;
  const std::vector<double> probabilities = ReferenceProbabilities(logits, params, counts);
  Sampler sampler(static_cast<int64_t>(logits.size()));
  std::vector<int> drawn(logits.size(), 0);
  for (int position = 0; position < kDraws; ++position) {
    const absl::StatusOr<int32_t> token = sampler.Sample(logits, params, 42, position, counts);
    ASSERT_TRUE(token.ok()) << token.status();
    ++drawn[static_cast<size_t>(*token)];
  }
  double chi_squared = 0;
  int classes = 0;
  double rare_expected = 0;
  int rare_drawn = 0;
  for (size_t token = 0; token < logits.size(); ++token) {
    const double expected = probabilities[token] * kDraws;
    if (probabilities[token] == 0) {
      EXPECT_EQ(drawn[token], 0) << "token " << token << " should be left out";
    }
    if (expected < 10) {
      rare_expected += expected;
      rare_drawn += drawn[token];
      continue;
    }
    chi_squared += (drawn[token] - expected) * (drawn[token] - expected) / expected;
    ++classes;
  }
  if (rare_expected >= 10) {
    chi_squared += (rare_drawn - rare_expected) * (rare_drawn - rare_expected) / rare_expected;
    ++classes;
  }
  // Mean and deviation of chi-squared, and 4.5 deviations; the draws are fixed by the seed.
  EXPECT_LT(chi_squared, classes + 4.5 * std::sqrt(2.0 * classes)) << classes << " classes";
}

int32_t SampleOnce(const std::vector<float>& logits, const SamplingParams& params, uint64_t seed = 1,
                   int64_t position = 1, const TokenCounts& counts = {}) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  const absl::StatusOr<int32_t> token = sampler.Sample(logits, params, seed, position, counts);
  EXPECT_TRUE(token.ok()) << token.status();
  return token.value_or(-1);
}

TEST(SamplerTest, GreedyTakesTheLargestAndTheLowestOfEquals) {
  EXPECT_EQ(SampleOnce({1, 3, 2, 3}, {}), 1);
  EXPECT_EQ(SampleOnce({-0.0f, 0.0f}, {}), 0);
  EXPECT_EQ(SampleOnce({-kInfinity, -5, -4}, {}), 2);
  for (const size_t vocab : {1, 15, 16, 17, 1000}) {
    std::vector<float> logits = RandomLogits(static_cast<unsigned>(vocab), vocab, 3);
    const auto largest = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(SampleOnce(logits, {}), largest) << vocab;
    logits.back() = 100;
    EXPECT_EQ(SampleOnce(logits, {}), static_cast<int32_t>(vocab) - 1);
  }
}

TEST(SamplerTest, BrokenLogitsAreAnErrorAndNotAToken) {
  const auto message = [](std::vector<float> logits, double temperature) {
    Sampler sampler(static_cast<int64_t>(logits.size()));
    SamplingParams params;
    params.temperature = temperature;
    const absl::StatusOr<int32_t> token = sampler.Sample(logits, params, 1, 7, {});
    EXPECT_EQ(token.status().code(), absl::StatusCode::kInternal);
    return std::string(token.status().message());
  };
  for (const double temperature : {0.0, 1.0}) {
    std::vector<float> logits(40, 1.0f);
    for (const size_t at : {0, 17, 39}) {
      logits[at] = std::nanf("");
      EXPECT_NE(message(logits, temperature).find("the logits of position 7 have a NaN"), std::string::npos);
      logits[at] = 1;
    }
    logits[3] = kInfinity;
    EXPECT_NE(message(logits, temperature).find("an infinite value"), std::string::npos);
    EXPECT_NE(message(std::vector<float>(5, -kInfinity), temperature).find("no finite value"),
              std::string::npos);
  }
}

TEST(SamplerTest, DrawsFromTheReferenceDistribution) {
  const std::vector<SamplingParams> cases = [] {
    std::vector<SamplingParams> all(9);
    for (SamplingParams& params : all) params.temperature = 1;
    all[1].temperature = 0.3;
    all[2].temperature = 2.5;
    all[3].top_k = 5;
    all[4].top_p = 0.6;
    all[5].min_p = 0.2;
    all[6].top_k = 12, all[6].top_p = 0.8;
    all[7].top_p = 0.9, all[7].min_p = 0.1, all[7].temperature = 1.7;
    all[8].logit_bias = {{3, 2.5f}, {4, -100.0f}, {3, 0.5f}};
    return all;
  }();
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i);
    ExpectDistribution(RandomLogits(static_cast<unsigned>(i) + 1, 20, 1.5f), cases[i]);
    ExpectDistribution(RandomLogits(static_cast<unsigned>(i) + 50, 67, 3.0f), cases[i]);
  }
}

TEST(SamplerTest, PenaltiesLookAtPromptAndOutput) {
  TokenCounts counts;
  for (const int32_t token : {0, 1, 2, 2}) counts.AddPrompt(token);
  for (const int32_t token : {2, 3, 3, 3}) counts.AddOutput(token);
  const std::vector<float> logits = {2, -1, 3, 2.5f, 1, 0};
  SamplingParams params;
  params.temperature = 1;
  for (const double repetition : {1.0, 1.5, 0.7}) {
    for (const double presence : {0.0, 0.8}) {
      for (const double frequency : {0.0, 0.4, -0.3}) {
        params.repetition_penalty = repetition;
        params.presence_penalty = presence;
        params.frequency_penalty = frequency;
        ExpectDistribution(logits, params, counts);
      }
    }
  }
  // Greedy as well. Of its three occurrences token 2 has one in the output.
  params = {};
  params.frequency_penalty = 1;
  EXPECT_EQ(SampleOnce({0, 0, 3, 2.5f, 0, 0}, params, 1, 1, counts), 2);
  params.presence_penalty = 4;
  EXPECT_EQ(SampleOnce({0, 0, 3, 2.5f, 0, -1}, params, 1, 1, counts), 0);
}

TEST(SamplerTest, TopKAndTopPKeepTheLowestOfEquals) {
  const std::vector<float> logits = {0, 1, 1, 1, 1, 0};
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 2;
  ExpectDistribution(logits, params);
  params.top_k = 0;
  params.top_p = 0.5;
  ExpectDistribution(logits, params);
  params.top_p = 0;
  EXPECT_EQ(SampleOnce(logits, params), 1);
}

TEST(SamplerTest, FiltersHaveTheirEdges) {
  const std::vector<float> logits = RandomLogits(9, 50, 2);
  SamplingParams greedy;
  const int32_t best = SampleOnce(logits, greedy);
  SamplingParams params;
  params.temperature = 1;
  for (int64_t position = 0; position < 200; ++position) {
    SamplingParams one = params;
    one.top_k = 1;
    EXPECT_EQ(SampleOnce(logits, one, 3, position), best);
    one = params;
    one.min_p = 1;
    EXPECT_EQ(SampleOnce(logits, one, 3, position), best);
    one = params;
    one.temperature = 1e-300;
    EXPECT_EQ(SampleOnce(logits, one, 3, position), best);
    // Filters that keep everything change nothing.
    SamplingParams all = params;
    all.top_k = 1000;
    all.min_p = 1e-30;
    EXPECT_EQ(SampleOnce(logits, all, 3, position), SampleOnce(logits, params, 3, position));
  }
  // A token without any probability is never drawn.
  std::vector<float> masked(50, -kInfinity);
  masked[31] = -2;
  EXPECT_EQ(SampleOnce(masked, params), 31);
}

TEST(SamplerTest, AMaskedTokenHasNoLogit) {
  const size_t vocab = 150;  // the last word of the mask is not full
  std::vector<uint64_t> allowed(3, ~uint64_t{0});
  for (const size_t token : {0, 63, 64, 149}) allowed[token / 64] &= ~(uint64_t{1} << token % 64);
  std::vector<float> logits = RandomLogits(6, vocab, 2);
  for (const size_t token : {0, 63, 64, 149}) logits[token] = 20;
  std::vector<float> without = logits;
  for (const size_t token : {0, 63, 64, 149}) without[token] = -kInfinity;
  TokenCounts counts;
  for (const int32_t token : {0, 5, 64}) counts.AddOutput(token);
  Sampler sampler(static_cast<int64_t>(vocab));
  const auto expect_same = [&](const SamplingParams& params) {
    for (int position = 0; position < 50; ++position) {
      EXPECT_EQ(*sampler.Sample(logits, params, 3, position, counts, allowed),
                *sampler.Sample(without, params, 3, position, counts));
    }
  };
  SamplingParams params;
  expect_same(params);
  params.temperature = 1;
  expect_same(params);
  params.top_k = 149;
  params.top_p = 0.9;
  expect_same(params);
  params.min_p = 0.05;
  params.repetition_penalty = 1.5;
  params.presence_penalty = -3;
  params.logit_bias = {{0, 1000.0f}, {7, 1.5f}};
  expect_same(params);
  logits[63] = std::nanf("");
  EXPECT_FALSE(sampler.Sample(logits, params, 3, 0, counts, allowed).ok());
}

TEST(SamplerTest, ManyTokensAndNarrowFiltersAgreeWithTheReference) {
  // Near a flat distribution the selection cannot leave out negligible tokens beforehand.
  for (const float deviation : {0.001f, 1.0f, 8.0f}) {
    const std::vector<float> logits = RandomLogits(77, 5000, deviation);
    SamplingParams params;
    params.temperature = 1;
    for (const double top_p : {0.01, 0.5, 0.999}) {
      params.top_p = top_p;
      const std::vector<double> probabilities = ReferenceProbabilities(logits, params);
      Sampler sampler(5000);
      for (int position = 0; position < 300; ++position) {
        const int32_t token = *sampler.Sample(logits, params, 5, position, {});
        EXPECT_GT(probabilities[static_cast<size_t>(token)], 0)
            << "deviation " << deviation << " top_p " << top_p;
      }
    }
  }
}

TEST(SamplerTest, TheTokenIsAFunctionOfSeedAndPosition) {
  const std::vector<float> logits = RandomLogits(4, 300, 1);
  SamplingParams params;
  params.temperature = 1;
  Sampler reused(300);
  int differences = 0;
  for (int64_t position = 0; position < 100; ++position) {
    const int32_t token = SampleOnce(logits, params, 11, position);
    SamplingParams other = params;
    other.top_k = 3;
    ASSERT_TRUE(
        reused.Sample(RandomLogits(5, 300, 1), other, 1, 1, {}).ok());  // leaves its work space behind
    EXPECT_EQ(*reused.Sample(logits, params, 11, position, {}), token);
    if (SampleOnce(logits, params, 12, position) != token) ++differences;
    if (SampleOnce(logits, params, 11, position + 1) != token) ++differences;
  }
  EXPECT_GT(differences, 150);
}

TEST(SamplerTest, SeedsOfRequestsDiffer) {
  EXPECT_EQ(DeriveSeed(1, 2), DeriveSeed(1, 2));
  EXPECT_NE(DeriveSeed(1, 2), DeriveSeed(1, 3));
  EXPECT_NE(DeriveSeed(1, 2), DeriveSeed(2, 2));
}

TEST(SamplerTest, CountsAreLookedAtOnlyForPenalties) {
  SamplingParams params;
  params.temperature = 1;
  EXPECT_FALSE(UsesTokenCounts(params));
  for (double SamplingParams::*penalty :
       {&SamplingParams::repetition_penalty, &SamplingParams::presence_penalty,
        &SamplingParams::frequency_penalty}) {
    params = {};
    params.*penalty = 0.5;
    EXPECT_TRUE(UsesTokenCounts(params));
  }
}

TEST(SamplerTest, TakesTheLargestVocabulary) {
  std::vector<float> logits(static_cast<size_t>(kMaxVocabSize), 0.5f);
  SamplingParams params;
  params.temperature = 1;
  params.top_p = 0.999999;
  const int32_t token = SampleOnce(logits, params);
  EXPECT_TRUE(token >= 0 && token < kMaxVocabSize);
  logits[5] = 90;
  EXPECT_EQ(SampleOnce(logits, params), 5);
}

}  // namespace
}  // namespace longspan
