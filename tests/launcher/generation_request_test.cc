#include "launcher/generation_request.h"

#include <gtest/gtest.h>

#include <map>

namespace longspan {
namespace {

TEST(GenerationRequestTest, ReadsEveryField) {
  const auto requests = ParseRequestLines(
      R"({"prompt": "Hi", "max_tokens": 5, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1,)"
      R"( "repetition_penalty": 1.2, "presence_penalty": -1, "frequency_penalty": 0.25,)"
      R"( "logit_bias": {"7": -100, "9": 1.5}, "seed": 18446744073709551615, "stop": ["a", "b"], "ignore_eos": true, "logprobs": 3})"
      "\n \n"
      R"({"token_ids": [1, 2], "stop": "END"})"
      "\n",
      "f.jsonl", GenerationRequest());
  ASSERT_TRUE(requests.ok()) << requests.status();
  ASSERT_EQ(requests->size(), 2u);
  const GenerationRequest& first = requests->at(0);
  EXPECT_EQ(first.prompt, "Hi");
  EXPECT_EQ(first.max_tokens, 5);
  EXPECT_EQ(first.sampling.temperature, 0.5);
  EXPECT_EQ(first.sampling.top_k, 3);
  EXPECT_EQ(first.sampling.top_p, 0.9);
  EXPECT_EQ(first.sampling.min_p, 0.1);
  EXPECT_EQ(first.sampling.repetition_penalty, 1.2);
  EXPECT_EQ(first.sampling.presence_penalty, -1);
  EXPECT_EQ(first.sampling.frequency_penalty, 0.25);
  EXPECT_EQ(first.sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{7, -100.f}, {9, 1.5f}}));
  EXPECT_EQ(first.sampling.seed, 18446744073709551615u);
  EXPECT_EQ(first.stop, std::vector<std::string>({"a", "b"}));
  EXPECT_TRUE(first.ignore_eos);
  EXPECT_EQ(first.logprobs, 3);
  EXPECT_FALSE(requests->at(1).prompt.has_value());
  EXPECT_EQ(requests->at(1).token_ids, std::vector<int32_t>({1, 2}));
  EXPECT_EQ(requests->at(1).stop, std::vector<std::string>({"END"}));
}

TEST(GenerationRequestTest, WhatALineDoesNotSayIsAsOnTheCommandLine) {
  GenerationRequest defaults;
  defaults.max_tokens = 9;
  defaults.sampling.temperature = 0.7;
  defaults.stop = {"x"};
  const auto requests = ParseRequestLines("{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"temperature\": 0}\n",
                                          "f.jsonl", defaults);
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_EQ(requests->at(0).max_tokens, 9);
  EXPECT_EQ(requests->at(0).sampling.temperature, 0.7);
  EXPECT_EQ(requests->at(0).stop, std::vector<std::string>({"x"}));
  EXPECT_EQ(requests->at(1).sampling.temperature, 0);
}

TEST(GenerationRequestTest, ErrorsNameLineAndField) {
  for (const auto& [line, expected] : std::map<std::string, std::string>{
           {"{", "f.jsonl:2: is not a JSON object"},
           {"[1]", "f.jsonl:2: is not a JSON object"},
           {"{}", "f.jsonl:2: needs one of"},
           {R"({"prompt": "a", "token_ids": [1]})", "f.jsonl:2: needs one of"},
           {R"({"prompt": 1})", "f.jsonl:2: \"prompt\": must be a text"},
           {R"({"prompt": "a", "max_token": 1})", "the nearest is \"max_tokens\""},
           {R"({"prompt": "a", "max_tokens": 0})", "\"max_tokens\": must be a whole number of at least 1"},
           {R"({"prompt": "a", "max_tokens": 18446744073709551615})", "\"max_tokens\": must be"},
           {R"({"prompt": "a", "top_p": "0.5"})", "\"top_p\": must be a number"},
           {R"({"prompt": "a", "seed": -1})", "\"seed\": must be"},
           {R"({"prompt": "a", "stop": ["a", ""]})", "\"stop\": must be"},
           {R"({"prompt": "a", "logit_bias": {"x": 1}})", "\"logit_bias\": must be"},
           {R"({"prompt": "a", "ignore_eos": 1})", "\"ignore_eos\": must be true or false"},
           {R"({"token_ids": [1.5]})", "\"token_ids\""},
           {R"({"prompt": "a", "messages": []})", "f.jsonl:2: needs one of"},
           {R"({"messages": {}})", "\"messages\": must be an array"},
           {R"({"messages": [], "tools": {}})", "\"tools\": must be an array"},
           {R"({"messages": [], "chat_template_kwargs": 1})", "\"chat_template_kwargs\": must be an object"},
           {R"({"prompt": "a", "tools": []})", "\"tools\" needs \"messages\""},
           {R"({"prompt": "a", "logprobs": 21})", "\"logprobs\": must be a whole number from 0 to 20"}}) {
    const auto requests =
        ParseRequestLines("{\"prompt\": \"ok\"}\n" + line + "\n", "f.jsonl", GenerationRequest());
    ASSERT_FALSE(requests.ok()) << line;
    EXPECT_NE(std::string(requests.status().message()).find(expected), std::string::npos)
        << requests.status();
  }
  EXPECT_FALSE(ParseRequestLines("\n", "f.jsonl", GenerationRequest()).ok());
}

// Templates print members in their order.
TEST(GenerationRequestTest, ConversationsKeepTheirOrder) {
  const auto requests =
      ParseRequestLines(R"({"tools": [{"z": 1, "a": 2.0}], "messages": [{"role": "user", "content": "é"}],)"
                        R"( "chat_template_kwargs": {"y": 1, "messages": 5, "b": 2}})",
                        "f.jsonl", GenerationRequest());
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_FALSE(requests->at(0).prompt.has_value());
  EXPECT_EQ(requests->at(0).conversation,
            R"({"y":1,"messages":[{"role":"user","content":"é"}],"b":2,"tools":[{"z":1,"a":2.0}]})");
}

TEST(GenerationRequestTest, APromptBecomesAMessage) {
  GenerationRequest request;
  request.prompt = "\"Hi\"";
  AskAsUser(&request);
  EXPECT_FALSE(request.prompt.has_value());
  EXPECT_EQ(request.conversation, R"({"messages":[{"role":"user","content":"\"Hi\""}]})");
}

TEST(GenerationRequestTest, ReadsLogitBias) {
  EXPECT_EQ(ParseLogitBias("42:-1.5").value(), (std::pair<int32_t, float>(42, -1.5f)));
  for (const char* text : {"", "42", ":1", "a:1", "1:b", "1:2:3"})
    EXPECT_FALSE(ParseLogitBias(text).ok()) << text;
}

TEST(GenerationRequestTest, TextNeedsATokenizer) {
  GenerationRequest request;
  request.prompt = "text";
  EXPECT_FALSE(ToEngineRequest(request, nullptr, nullptr, {}).ok());
  AskAsUser(&request);
  EXPECT_FALSE(ToEngineRequest(request, nullptr, nullptr, {}).ok());
  request.conversation.reset();
  request.token_ids = {3, 4};
  request.max_tokens = 2;
  const absl::StatusOr<Request> made = ToEngineRequest(request, nullptr, nullptr, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->prompt, request.token_ids);
  EXPECT_EQ(made->max_tokens, 2);
}

}  // namespace
}  // namespace longspan
