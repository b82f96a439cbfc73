#include "runtime/api/openai_response.h"

#include <gtest/gtest.h>

#include <limits>

#include <nlohmann/json.hpp>

#include "runtime/api/openai_bodies.h"
#include "runtime/tokenizer/utf8.h"
#include "tests/api/listed_tokens.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

CompletionCall Call(bool chat, const std::string& fields) {
  const std::string start = chat ? R"({"messages":[{"role":"user","content":"hi"}])" : R"({"prompt":"Hi")";
  const std::string body = start + (fields.empty() ? "" : "," + fields) + "}";
  absl::StatusOr<CompletionCall> call = chat ? ParseChatCompletion(body) : ParseCompletion(body);
  EXPECT_TRUE(call.ok()) << call.status();
  return call.ok() ? *std::move(call) : CompletionCall();
}

const Tokenizer* TestTokenizer() {
  // 3 and 4 are the halves of a character.
  static const auto* const tokenizer =
      new ListedTokens({"<s>", " Hi", "\"\n", "\xC5", "\x82", "\xC5\x82", " Hi"}, {0});
  return tokenizer;
}

ResponseContext Context() {
  return {"id-1", 1700000000, "m", "fp", TestTokenizer(), ToolCallFormat::kHermes};
}

constexpr Usage kUsage = {5, 2, 3};
const std::string kEventHead = R"(data: {"id":"id-1","object":")";
const std::string kBodyRest = R"(","created":1700000000,"model":"m","system_fingerprint":"fp","choices":[)";
const std::string kUsageJson =
    R"("usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":3}})";

PositionLogprobs Position(int32_t token, double logprob, std::vector<TokenLogprob> top) {
  return {{token, logprob}, std::move(top)};
}

TEST(OpenAiResponse, Chat) {
  CompletionResponse response(Call(true, ""), Context());
  EXPECT_EQ(response.Begin(), "");
  EXPECT_EQ(response.OnText(0, "a\"", {}, {}), "");
  EXPECT_EQ(response.OnText(0, "\xFFł", {}, {}), "");
  EXPECT_EQ(response.OnFinish(0, FinishReason::kStop), "");
  EXPECT_EQ(response.End(kUsage),
            R"({"id":"id-1","object":"chat.completion)" + kBodyRest +
                R"({"index":0,"message":{"role":"assistant","content":"a\")" + "\uFFFDł" +
                R"(","refusal":null},"logprobs":null,"finish_reason":"stop"}],)" + kUsageJson + "}");
}

TEST(OpenAiResponse, ChatStream) {
  CompletionResponse response(Call(true, R"("stream":true,"n":2,"stream_options":{"include_usage":true})"),
                              Context());
  const std::string head = kEventHead + "chat.completion.chunk" + kBodyRest;
  const std::string tail = "],\"usage\":null}\n\n";
  EXPECT_EQ(response.Begin(),
            head + R"({"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,)" +
                R"("finish_reason":null})" + tail + head +
                R"({"index":1,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,)" +
                R"("finish_reason":null})" + tail);
  EXPECT_EQ(response.OnText(1, "a\n", {}, {}),
            head + R"({"index":1,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null})" + tail);
  EXPECT_EQ(response.OnText(1, "", {}, {}), "");
  EXPECT_EQ(response.OnFinish(1, FinishReason::kLength),
            head + R"({"index":1,"delta":{},"logprobs":null,"finish_reason":"length"})" + tail);
  EXPECT_EQ(response.OnFinish(0, FinishReason::kStop),
            head + R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"})" + tail);
  EXPECT_EQ(response.End(kUsage), head + "]," + kUsageJson + "}\n\ndata: [DONE]\n\n");
}

TEST(OpenAiResponse, Completion) {
  CompletionResponse response(Call(false, R"("n":2,"echo":true,"return_token_ids":true)"), Context());
  for (const int choice : {0, 1}) {
    response.OnPrompt(choice, "Hi", std::vector<int32_t>{0, 1}, {});
    response.OnText(choice, choice == 0 ? " a" : " b", std::vector<int32_t>{6}, {});
    response.OnFinish(choice, FinishReason::kStop);
  }
  EXPECT_EQ(response.End(kUsage),
            R"({"id":"id-1","object":"text_completion)" + kBodyRest +
                R"({"index":0,"text":"Hi a","logprobs":null,"token_ids":[0,1,6],"finish_reason":"stop"},)" +
                R"({"index":1,"text":"Hi b","logprobs":null,"token_ids":[0,1,6],"finish_reason":"stop"}],)" +
                kUsageJson + "}");
}

TEST(OpenAiResponse, CompletionStream) {
  CompletionResponse response(Call(false, R"("stream":true,"return_token_ids":true)"), Context());
  const std::string head = kEventHead + "text_completion" + kBodyRest;
  EXPECT_EQ(response.Begin(), "");
  EXPECT_EQ(response.OnText(0, "", std::vector<int32_t>{3}, {}), "");  // told with the text
  EXPECT_EQ(
      response.OnText(0, "ł", std::vector<int32_t>{4}, {}),
      head + R"({"index":0,"text":"ł","logprobs":null,"token_ids":[3,4],"finish_reason":null}]})" + "\n\n");
  EXPECT_EQ(response.OnText(0, "", std::vector<int32_t>{0}, {}), "");
  EXPECT_EQ(
      response.OnFinish(0, FinishReason::kStop),
      head + R"({"index":0,"text":"","logprobs":null,"token_ids":[0],"finish_reason":"stop"}]})" + "\n\n");
  EXPECT_EQ(response.End(kUsage), "data: [DONE]\n\n");
}

TEST(OpenAiResponse, ChatLogprobs) {
  CompletionResponse response(Call(true, R"("stream":true,"logprobs":true,"top_logprobs":2)"), Context());
  EXPECT_EQ(response.OnText(0, "", {}, std::vector{Position(3, -0.5, {{1, -0.25}, {3, -0.5}})}), "");
  const std::string event =
      response.OnText(0, "ł", {}, std::vector{Position(4, -std::numeric_limits<double>::infinity(), {})});
  const ordered_json expected = ordered_json::parse(R"({"content":[
    {"token":"\ufffd","logprob":-0.5,"bytes":[197],"top_logprobs":[
      {"token":" Hi","logprob":-0.25,"bytes":[32,72,105]},{"token":"\ufffd","logprob":-0.5,"bytes":[197]}]},
    {"token":"\ufffd","logprob":-9999.0,"bytes":[130],"top_logprobs":[]}],"refusal":null})");
  EXPECT_EQ(ordered_json::parse(event.substr(6))["choices"][0]["logprobs"], expected);
  // What is left comes with the last chunk.
  response.OnText(0, "", {}, std::vector{Position(1, -1e-9, {})});
  const ordered_json last = ordered_json::parse(response.OnFinish(0, FinishReason::kStop).substr(6));
  EXPECT_EQ(last["choices"][0]["logprobs"]["content"][0]["logprob"], -1e-9);
}

TEST(OpenAiResponse, CompletionLogprobs) {
  CompletionResponse response(Call(false, R"("echo":true,"logprobs":1)"), Context());
  response.OnPrompt(
      0, "Hiłł", std::vector<int32_t>{0, 1, 5, 5},
      std::vector{Position(1, -1, {{5, -0.5}}), Position(5, -2, {{5, -2}}), Position(5, -3, {})});
  response.OnText(0, "ł\"\n", {},
                  std::vector{Position(3, -4, {{1, -0.125}, {6, -0.25}}), Position(4, -5, {{3, -1}}),
                              Position(2, -6, {{0, -1}})});
  response.OnFinish(0, FinishReason::kLength);
  // The prompt's leading space is not part of its text; characters are counted, not bytes.
  EXPECT_EQ(ordered_json::parse(response.End(kUsage))["choices"][0]["logprobs"], ordered_json::parse(R"({
    "tokens":["<s>"," Hi","ł","ł","bytes:\\xc5","bytes:\\x82","\"\n"],
    "token_logprobs":[null,-1.0,-2.0,-3.0,-4.0,-5.0,-6.0],
    "top_logprobs":[null,{"ł":-0.5," Hi":-1.0},{"ł":-2.0},{"ł":-3.0},
      {" Hi":-0.125,"bytes:\\xc5":-4.0},{"bytes:\\xc5":-1.0,"bytes:\\x82":-5.0},{"<s>":-1.0,"\"\n":-6.0}],
    "text_offset":[0,0,2,3,4,5,5]})"));
}

TEST(OpenAiResponse, WithoutATokenizerTokensAreNumbers) {
  ResponseContext context = Context();
  context.tokenizer = nullptr;
  CompletionResponse response(Call(false, R"("logprobs":0)"), context);
  response.OnText(0, "7", {}, std::vector{Position(7, -1, {})});
  response.OnFinish(0, FinishReason::kStop);
  EXPECT_EQ(ordered_json::parse(response.End(kUsage))["choices"][0]["logprobs"]["tokens"],
            ordered_json{"token_id:7"});
}

constexpr const char* kTools = R"("tools":[{"type":"function","function":{"name":"f"}}])";
constexpr std::string_view kAnswer =
    "Let me see.\n<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>"
    "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"ł\"}}</tool_call>";

TEST(OpenAiResponse, ToolCalls) {
  CompletionResponse response(Call(true, kTools), Context());
  response.OnText(0, kAnswer, {}, {});
  response.OnFinish(0, FinishReason::kStop);
  const ordered_json choice = ordered_json::parse(response.End(kUsage))["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  const ordered_json& calls = choice["message"]["tool_calls"];
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0]["type"], "function");
  EXPECT_EQ(calls[0]["function"], ordered_json::parse(R"({"name":"f","arguments":"{\"x\": 1}"})"));
  EXPECT_EQ(calls[1]["function"], ordered_json::parse(R"({"name":"f","arguments":"{\"x\": \"ł\"}"})"));
  EXPECT_TRUE(calls[0]["id"].get<std::string>().starts_with("call_"));
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);
}

TEST(OpenAiResponse, CallsAloneHaveNullContent) {
  CompletionResponse response(Call(true, kTools), Context());
  response.OnText(0, kAnswer.substr(kAnswer.find('<')), {}, {});
  response.OnFinish(0, FinishReason::kLength);
  const ordered_json choice = ordered_json::parse(response.End(kUsage))["choices"][0];
  EXPECT_TRUE(choice["message"]["content"].is_null());
  EXPECT_EQ(choice["finish_reason"], "length");
}

TEST(OpenAiResponse, NoTextIsACallWithoutTools) {
  for (const std::string& fields : {std::string(), std::string(kTools) + R"(,"tool_choice":"none")"}) {
    CompletionResponse response(Call(true, fields), Context());
    response.OnText(0, kAnswer, {}, {});
    response.OnFinish(0, FinishReason::kStop);
    const ordered_json choice = ordered_json::parse(response.End(kUsage))["choices"][0];
    EXPECT_EQ(choice["message"]["content"], kAnswer);
    EXPECT_FALSE(choice["message"].contains("tool_calls"));
    EXPECT_EQ(choice["finish_reason"], "stop");
  }
}

// Puts a stream's chunks together in the way of OpenAI's clients.
TEST(OpenAiResponse, StreamedToolCalls) {
  CompletionResponse response(Call(true, std::string(kTools) + R"(,"stream":true)"), Context());
  std::string stream = response.Begin();
  for (const char c : kAnswer) stream += response.OnText(0, std::string_view(&c, 1), {}, {});
  stream += response.OnFinish(0, FinishReason::kStop);
  ordered_json calls = ordered_json::array();
  std::string content, reason;
  for (size_t at = 0; at < stream.size();) {
    const size_t end = stream.find("\n\n", at);
    const ordered_json choice = ordered_json::parse(stream.substr(at + 6, end - at - 6))["choices"][0];
    at = end + 2;
    const ordered_json& delta = choice["delta"];
    if (!choice["finish_reason"].is_null()) reason = choice["finish_reason"];
    content += delta.value("content", "");
    for (const ordered_json& part : delta.value("tool_calls", ordered_json::array())) {
      ASSERT_LE(part["index"], calls.size());
      if (part["index"] == calls.size()) {
        calls.push_back(part);
      } else {
        EXPECT_EQ(part["index"], calls.size() - 1);
        auto& arguments = calls.back()["function"]["arguments"].get_ref<std::string&>();
        arguments += part["function"]["arguments"].get<std::string>();
      }
    }
  }
  EXPECT_EQ(content, "Let me see.");
  EXPECT_EQ(reason, "tool_calls");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0]["function"]["arguments"], "{\"x\": 1}");
  EXPECT_EQ(calls[1]["function"]["name"], "f");
  // Bytes that are no character on their own: what arrives is always UTF-8.
  EXPECT_EQ(FindInvalidUtf8(stream), std::nullopt);
}

TEST(OpenAiResponse, MistralsIdsHaveNineLettersAndDigits) {
  ResponseContext context = Context();
  context.tool_call_format = ToolCallFormat::kMistral;
  CompletionResponse response(Call(true, kTools), context);
  response.OnText(0, R"([TOOL_CALLS][{"name":"f","arguments":{}}])", {}, {});
  response.OnFinish(0, FinishReason::kStop);
  const ordered_json choice = ordered_json::parse(response.End(kUsage))["choices"][0];
  const std::string id = choice["message"]["tool_calls"][0]["id"];
  EXPECT_EQ(id.size(), 9u);
  for (const char c : id) EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c))) << id;
}

TEST(OpenAiBodies, Models) {
  const std::vector<ModelCard> models = {{"a", 1, 2}, {"b\"", 3, 4}};
  EXPECT_EQ(ModelListBody(models),
            R"({"object":"list","data":[)"
            R"({"id":"a","object":"model","created":1,"owned_by":"longspan","max_model_len":2},)"
            R"({"id":"b\"","object":"model","created":3,"owned_by":"longspan","max_model_len":4}]})");
  EXPECT_EQ(ModelListBody({}), R"({"object":"list","data":[]})");
}

TEST(OpenAiBodies, Tokens) {
  const std::vector<int32_t> tokens = {0, 3};
  EXPECT_EQ(TokenizeBody(tokens, 9, nullptr), R"({"tokens":[0,3],"count":2,"max_model_len":9})");
  EXPECT_EQ(TokenizeBody(tokens, 9, TestTokenizer()),
            R"({"tokens":[0,3],"count":2,"max_model_len":9,"token_strs":["<s>",")"
            "\uFFFD"
            R"("]})");
  EXPECT_EQ(PromptBody("a\xFF"), "{\"prompt\":\"a\uFFFD\"}");
}

}  // namespace
}  // namespace longspan
