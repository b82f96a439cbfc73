#include "runtime/api/openai_request.h"

#include <gtest/gtest.h>

#include <limits>

namespace longspan {
namespace {

using nlohmann::ordered_json;

std::string Chat(const std::string& fields) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + (fields.empty() ? "" : "," + fields) + "}";
}

std::string Completion(const std::string& fields) {
  return R"({"prompt":"hi")" + (fields.empty() ? "" : "," + fields) + "}";
}

CompletionCall ParsedChat(const std::string& fields) {
  absl::StatusOr<CompletionCall> call = ParseChatCompletion(Chat(fields));
  EXPECT_TRUE(call.ok()) << fields << ": " << call.status();
  return call.ok() ? *std::move(call) : CompletionCall();
}

CompletionCall ParsedCompletion(const std::string& fields) {
  absl::StatusOr<CompletionCall> call = ParseCompletion(Completion(fields));
  EXPECT_TRUE(call.ok()) << fields << ": " << call.status();
  return call.ok() ? *std::move(call) : CompletionCall();
}

TEST(OpenAiRequest, DefaultsAreOpenAis) {
  for (const CompletionCall& call : {ParsedChat(""), ParsedCompletion("")}) {
    EXPECT_EQ(call.model, "");
    EXPECT_EQ(call.n, 1);
    EXPECT_EQ(call.choices(), 1);
    EXPECT_FALSE(call.stream || call.echo || call.include_usage || call.ignore_eos || call.return_token_ids);
    EXPECT_FALSE(call.logprobs || call.max_tokens || call.timeout_s || call.sampling.seed);
    EXPECT_EQ(call.sampling.temperature, 1);
    EXPECT_EQ(call.sampling.top_p, 1);
    EXPECT_EQ(call.sampling.top_k, 0);
    EXPECT_TRUE(call.stop.empty());
    EXPECT_EQ(call.response_format.kind, ResponseFormat::Kind::kText);
    EXPECT_EQ(call.tools.choice, ToolUse::Choice::kNone);
  }
}

TEST(OpenAiRequest, NullIsAbsentAndUnknownFieldsAreIgnored) {
  std::string nulls;
  for (const char* name : {"model",
                           "n",
                           "stream",
                           "stream_options",
                           "temperature",
                           "top_p",
                           "top_k",
                           "min_p",
                           "presence_penalty",
                           "frequency_penalty",
                           "repetition_penalty",
                           "logit_bias",
                           "seed",
                           "stop",
                           "ignore_eos",
                           "priority",
                           "timeout",
                           "response_format",
                           "max_tokens",
                           "logprobs",
                           "return_token_ids"}) {
    nulls += (nulls.empty() ? "\"" : ",\"") + std::string(name) + "\":null";
  }
  const std::string unknown =
      R"(,"user":"u","store":true,"metadata":{"a":[{}]},"service_tier":7,"whatever":[1,{"b":null}])";
  ParsedCompletion(nulls + unknown + R"(,"suffix":null,"best_of":null,"echo":null)");
  ParsedChat(nulls + unknown +
             R"(,"tools":null,"tool_choice":null,"parallel_tool_calls":null,"max_completion_tokens":null,)"
             R"("top_logprobs":null,"chat_template_kwargs":null,"modalities":null)");
}

TEST(OpenAiRequest, ReadsEveryField) {
  const char* fields = R"("model":"m","n":3,"stream":true,"stream_options":{"include_usage":true},
    "temperature":0,"top_p":0.5,"top_k":40,"min_p":0.1,"presence_penalty":-2,"frequency_penalty":2,
    "repetition_penalty":1.1,"logit_bias":{"7":-100,"8":0.5},"seed":42,"stop":["a","b"],"ignore_eos":true,
    "priority":-3,"timeout":1.5,"max_tokens":9,"return_token_ids":true)";
  for (const CompletionCall& call : {ParsedChat(fields), ParsedCompletion(fields)}) {
    EXPECT_EQ(call.model, "m");
    EXPECT_EQ(call.n, 3);
    EXPECT_EQ(call.choices(), 3);
    EXPECT_TRUE(call.stream && call.include_usage && call.ignore_eos && call.return_token_ids);
    EXPECT_EQ(call.sampling.temperature, 0);
    EXPECT_EQ(call.sampling.top_p, 0.5);
    EXPECT_EQ(call.sampling.top_k, 40);
    EXPECT_EQ(call.sampling.min_p, 0.1);
    EXPECT_EQ(call.sampling.presence_penalty, -2);
    EXPECT_EQ(call.sampling.frequency_penalty, 2);
    EXPECT_EQ(call.sampling.repetition_penalty, 1.1);
    EXPECT_EQ(call.sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{7, -100.0f}, {8, 0.5f}}));
    EXPECT_EQ(call.sampling.seed, 42u);
    EXPECT_EQ(call.stop, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(call.priority, -3);
    EXPECT_EQ(call.timeout_s, 1.5);
    EXPECT_EQ(call.max_tokens, 9);
  }
  EXPECT_EQ(ParsedChat(R"("seed":-1)").sampling.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(ParsedChat(R"("seed":18446744073709551615)").sampling.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(ParsedChat(R"("stop":"x")").stop, std::vector<std::string>{"x"});
  EXPECT_EQ(ParsedChat(R"("top_k":-1)").sampling.top_k, 0);
  EXPECT_EQ(ParsedChat(R"("max_completion_tokens":5)").max_tokens, 5);
  EXPECT_EQ(ParsedChat(R"("max_completion_tokens":5,"max_tokens":5)").max_tokens, 5);
  EXPECT_EQ(ParsedChat(R"("logprobs":true)").logprobs, 0);
  EXPECT_EQ(ParsedChat(R"("logprobs":true,"top_logprobs":20)").logprobs, 20);
  EXPECT_EQ(ParsedChat(R"("logprobs":false,"top_logprobs":0)").logprobs, std::nullopt);
  EXPECT_EQ(ParsedCompletion(R"("logprobs":0)").logprobs, 0);
  EXPECT_EQ(ParsedCompletion(R"("echo":true,"max_tokens":0,"best_of":1)").max_tokens, 0);
  EXPECT_EQ(ParsedChat(R"("temperature":0.5,"temperature":2)").sampling.temperature,
            2);  // the last one counts
}

TEST(OpenAiRequest, PromptsOfEveryForm) {
  const auto prompts = [](const std::string& json) {
    const absl::StatusOr<CompletionCall> call = ParseCompletion(R"({"n":2,"prompt":)" + json + "}");
    EXPECT_TRUE(call.ok()) << call.status();
    EXPECT_EQ(call->choices(), static_cast<int>(2 * call->prompts.size()));
    return call->prompts;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(prompts(R"("")"), std::vector<Prompt>{""});
  EXPECT_EQ(prompts(R"(["a","b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1,2,2147483647]"), (std::vector<Prompt>{Ids{1, 2, 2147483647}}));
  EXPECT_EQ(prompts("[[1],[2,3]]"), (std::vector<Prompt>{Ids{1}, Ids{2, 3}}));
}

TEST(OpenAiRequest, MessagesOfEveryRole) {
  const absl::StatusOr<CompletionCall> call = ParseChatCompletion(R"({"messages":[
    {"role":"developer","content":"Be brief.","name":null},
    {"role":"user","name":"Ada","content":[{"type":"text","text":"a"},{"type":"text","text":"b","more":1}]},
    {"role":"assistant","content":null,"tool_calls":[
      {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}}]},
    {"role":"tool","tool_call_id":"call_1","content":"1"},
    {"role":"assistant","refusal":"no"},
    {"role":"assistant","content":[{"type":"refusal","refusal":"never"}],"tool_calls":null},
    {"role":"function","name":"f","content":"2","reasoning_content":"kept"}],
    "chat_template_kwargs":{"enable_thinking":false},"add_generation_prompt":false})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->conversation, ordered_json::parse(R"({"enable_thinking":false,"add_generation_prompt":false,
    "messages":[
      {"role":"system","content":"Be brief."},
      {"role":"user","name":"Ada","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":null,"tool_calls":[
        {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}}]},
      {"role":"tool","tool_call_id":"call_1","content":"1"},
      {"role":"assistant","refusal":"no","content":"no"},
      {"role":"assistant","content":[{"type":"text","text":"never"}]},
      {"role":"function","name":"f","content":"2","reasoning_content":"kept"}]})"));
}

constexpr const char* kTools = R"("tools":[
  {"type":"function","function":{"name":"f","description":"d","strict":true,
                                 "parameters":{"type":"object","properties":{"b":{},"a":{}}}}},
  {"type":"function","function":{"name":"g"}}])";

TEST(OpenAiRequest, ToolsAndTheirChoice) {
  struct Case {
    const char* choice;
    ToolUse::Choice expected;
    std::vector<std::string> names;
  };
  using Choice = ToolUse::Choice;
  for (const Case& c : std::initializer_list<Case>{
           {"null", Choice::kAuto, {"f", "g"}},
           {R"("auto")", Choice::kAuto, {"f", "g"}},
           {R"("required")", Choice::kRequired, {"f", "g"}},
           {R"("none")", Choice::kNone, {}},
           {R"({"type":"function","function":{"name":"g"}})", Choice::kNamed, {"g"}},
           {R"({"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[
                {"type":"function","function":{"name":"g"}}]}})",
            Choice::kRequired,
            {"g"}},
       }) {
    const CompletionCall call = ParsedChat(std::string(kTools) + R"(,"tool_choice":)" + c.choice);
    EXPECT_EQ(call.tools.choice, c.expected) << c.choice;
    std::vector<std::string> names;
    for (const ToolUse::Function& function : call.tools.functions) names.push_back(function.name);
    EXPECT_EQ(names, c.names) << c.choice;
    EXPECT_EQ(call.conversation.contains("tools"), c.expected != Choice::kNone) << c.choice;
  }
  const CompletionCall call = ParsedChat(std::string(kTools) + R"(,"parallel_tool_calls":false)");
  EXPECT_FALSE(call.tools.parallel);
  EXPECT_TRUE(call.tools.functions[0].strict);
  EXPECT_EQ(call.tools.functions[0].parameters.dump(), R"({"type":"object","properties":{"b":{},"a":{}}})");
  EXPECT_EQ(call.tools.functions[1].parameters.dump(), R"({"type":"object","properties":{}})");
  EXPECT_EQ(call.conversation["tools"][0]["function"]["description"], "d");
  EXPECT_EQ(ParsedChat(R"("tools":[],"tool_choice":"auto")").tools.choice, Choice::kNone);
}

TEST(OpenAiRequest, ResponseFormats) {
  using Kind = ResponseFormat::Kind;
  EXPECT_EQ(ParsedChat(R"("response_format":{"type":"text"})").response_format.kind, Kind::kText);
  EXPECT_EQ(ParsedChat(R"("response_format":{"type":"json_object"})").response_format.kind,
            Kind::kJsonObject);
  const CompletionCall call = ParsedCompletion(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,
         "schema":{"type":"object","properties":{"z":{},"a":{}}}}})");
  EXPECT_EQ(call.response_format.kind, Kind::kJsonSchema);
  EXPECT_EQ(call.response_format.schema.dump(), R"({"type":"object","properties":{"z":{},"a":{}}})");
}

TEST(OpenAiRequest, Tokenize) {
  absl::StatusOr<TokenizeCall> call =
      ParseTokenize(R"({"model":"m","prompt":"a","add_special_tokens":false,"return_token_strs":true})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->model, "m");
  EXPECT_EQ(call->prompt, "a");
  EXPECT_FALSE(call->add_special_tokens);
  EXPECT_TRUE(call->return_token_strs);
  call = ParseTokenize(Chat(kTools));
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->prompt, std::nullopt);
  EXPECT_TRUE(call->add_special_tokens);
  EXPECT_EQ(call->conversation["tools"].size(), 2u);
}

TEST(OpenAiRequest, Detokenize) {
  const absl::StatusOr<DetokenizeCall> call = ParseDetokenize(R"({"tokens":[1,2]})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->tokens, (std::vector<int32_t>{1, 2}));
}

TEST(OpenAiRequest, ApplyTemplate) {
  const absl::StatusOr<ApplyTemplateCall> call = ParseApplyTemplate(Chat(R"("add_generation_prompt":false)"));
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->conversation.dump(),
            R"({"add_generation_prompt":false,"messages":[{"role":"user","content":"hi"}]})");
}

}  // namespace
}  // namespace longspan
