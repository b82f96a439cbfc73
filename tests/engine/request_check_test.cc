#include "runtime/engine/request_check.h"

#include <cmath>
#include <string>

#include "gtest/gtest.h"

namespace longspan {
namespace {

constexpr RequestLimits kLimits = {
    .vocab_size = 10, .max_context = 100, .store_tokens = 100, .default_max_tokens = 20};

Request Prompt(size_t tokens, std::optional<int64_t> max_tokens = std::nullopt) {
  Request request;
  request.prompt.assign(tokens, 1);
  request.max_tokens = max_tokens;
  return request;
}

std::string Refusal(const Request& request, const RequestLimits& limits = kLimits) {
  const absl::StatusOr<int64_t> checked = CheckRequest(request, limits);
  EXPECT_EQ(checked.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(checked.status().message());
}

TEST(RequestCheckTest, TakesWhatFits) {
  EXPECT_EQ(*CheckRequest(Prompt(60, 40), kLimits), 40);
  EXPECT_EQ(*CheckRequest(Prompt(60, 1), kLimits), 1);
}

TEST(RequestCheckTest, AnOutputThatIsNotNamedIsTheDefaultOrTheContextLeft) {
  EXPECT_EQ(*CheckRequest(Prompt(60), kLimits), 20);
  EXPECT_EQ(*CheckRequest(Prompt(95), kLimits), 5);
  Refusal(Prompt(100));
  Request request = Prompt(100);
  request.prompt_logits = true;
  EXPECT_EQ(*CheckRequest(request, kLimits), 0);
}

TEST(RequestCheckTest, OnlyPromptLogitsGoWithoutOutput) {
  EXPECT_EQ(Refusal(Prompt(5, 0)), "max_tokens is 0; it must be at least 1");
  EXPECT_EQ(Refusal(Prompt(5, -3)), "max_tokens is -3; it must be at least 1");
  Request request = Prompt(5, 0);
  request.prompt_logits = true;
  EXPECT_EQ(*CheckRequest(request, kLimits), 0);
}

TEST(RequestCheckTest, APriorityHasARange) {
  Request request = Prompt(5, 1);
  request.priority = kHighestPriority;
  EXPECT_TRUE(CheckRequest(request, kLimits).ok());
  request.priority = kLowestPriority - 1;
  EXPECT_EQ(Refusal(request), "priority is -101; it must be from -100 to 100");
}

TEST(RequestCheckTest, ATooLongRequestHearsItsLengthTheLimitAndWhatWouldFit) {
  EXPECT_EQ(
      Refusal(Prompt(60, 41)),
      "the prompt of 60 tokens and an output of 41 do not fit the limit of 100 tokens (the longest context); "
      "the largest output that fits is 40: lower max_tokens");
  EXPECT_EQ(
      Refusal(Prompt(120, 1)),
      "the prompt of 120 tokens and an output of 1 do not fit the limit of 100 tokens (the longest context); "
      "the largest output that fits is 0: shorten the prompt");
  RequestLimits small_store = kLimits;
  small_store.store_tokens = 64;
  EXPECT_EQ(Refusal(Prompt(60, 5), small_store),
            "the prompt of 60 tokens and an output of 5 do not fit the limit of 64 tokens (what the KV "
            "memory of this "
            "group can hold); the largest output that fits is 4: lower max_tokens");
  Refusal(Prompt(1, std::numeric_limits<int64_t>::max()));
}

TEST(RequestCheckTest, TokensMustBeInTheVocabulary) {
  EXPECT_EQ(Refusal(Prompt(0)), "the prompt is empty; it needs at least one token");
  Request request = Prompt(3);
  request.prompt[2] = 10;
  EXPECT_EQ(
      Refusal(request),
      "token 10 at position 2 of the prompt is not in the vocabulary of 10 tokens; use ids of this model's "
      "tokenizer");
  request.prompt[2] = -1;
  Refusal(request);
}

TEST(RequestCheckTest, SamplingValuesMustBeInRange) {
  const auto refusal = [](auto change) {
    Request request = Prompt(3);
    change(request.sampling);
    return Refusal(request);
  };
  EXPECT_EQ(refusal([](SamplingParams& p) { p.temperature = -1; }),
            "temperature is -1; it must be a number from 0 to 3.40282e+38");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.temperature = std::nan(""); }),
            "temperature is nan; it must be a number from 0 to 3.40282e+38");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_k = -1; }), "top_k is -1; it must be a number, at least 0");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_p = 1.5; }),
            "top_p is 1.5; it must be a number from 0 to 1");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.min_p = -0.5; }),
            "min_p is -0.5; it must be a number from 0 to 1");
  refusal([](SamplingParams& p) { p.repetition_penalty = 0; });
  refusal([](SamplingParams& p) { p.presence_penalty = INFINITY; });
  refusal([](SamplingParams& p) { p.frequency_penalty = -1e9; });
  refusal([](SamplingParams& p) { p.logit_bias = {{3, NAN}}; });
  EXPECT_EQ(refusal([](SamplingParams& p) {
              p.logit_bias = {{10, 1.0f}};
            }),
            "logit_bias names token 10; the vocabulary has tokens 0 to 9");
}

}  // namespace
}  // namespace longspan
