// What requests are refused for.
#include <gtest/gtest.h>

#include "runtime/api/openai_error.h"
#include "runtime/api/openai_request.h"

namespace longspan {
namespace {

std::string Chat(const std::string& fields) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + (fields.empty() ? "" : "," + fields) + "}";
}

std::string Completion(const std::string& fields) {
  return R"({"prompt":"hi")" + (fields.empty() ? "" : "," + fields) + "}";
}

// One line: "PARAM: MESSAGE".
std::string Told(const absl::Status& status) {
  EXPECT_EQ(HttpStatus(status), 400) << status;
  return ErrorParam(status).value_or("null") + ": " + std::string(status.message());
}

TEST(OpenAiRequestError, NamesFieldAndValueAndWhatIsRight) {
  struct Case {
    std::string fields, told;
  };
  const std::vector<Case> both = {
      {R"("model":1)", "model: 'model' is 1; it must be a string"},
      {R"("n":0)", "n: 'n' is 0; it must be a whole number from 1 to 128"},
      {R"("n":129)", "n: 'n' is 129; it must be a whole number from 1 to 128"},
      {R"("n":1.5)", "n: 'n' is 1.5; it must be a whole number from 1 to 128"},
      {R"("n":18446744073709551615)",
       "n: 'n' is 18446744073709551615; it must be a whole number from 1 to 128"},
      {R"("stream":"yes")", "stream: 'stream' is \"yes\"; it must be true or false"},
      {R"("stream_options":{})", "stream_options: 'stream_options' can only be given with \"stream\": true"},
      {R"("stream":true,"stream_options":[])",
       "stream_options: 'stream_options' is an empty list; it must be an object"},
      {R"("stream":true,"stream_options":{"include_usage":1})",
       "stream_options.include_usage: 'stream_options.include_usage' is 1; it must be true or false"},
      {R"("temperature":"hot")", "temperature: 'temperature' is \"hot\"; it must be a number from 0 to 2"},
      {R"("temperature":-0.1)", "temperature: 'temperature' is -0.1; it must be a number from 0 to 2"},
      {R"("temperature":2.1)", "temperature: 'temperature' is 2.1; it must be a number from 0 to 2"},
      {R"("top_p":1.01)", "top_p: 'top_p' is 1.01; it must be a number from 0 to 1"},
      {R"("top_k":-2)", "top_k: 'top_k' is -2; it must be a whole number of at least -1"},
      {R"("top_k":{})", "top_k: 'top_k' is an object; it must be a whole number of at least -1"},
      {R"("min_p":true)", "min_p: 'min_p' is true; it must be a number from 0 to 1"},
      {R"("presence_penalty":3)",
       "presence_penalty: 'presence_penalty' is 3; it must be a number from -2 to 2"},
      {R"("frequency_penalty":[1])",
       "frequency_penalty: 'frequency_penalty' is a list; it must be a number from -2 to 2"},
      {R"("repetition_penalty":0)",
       "repetition_penalty: 'repetition_penalty' is 0; it must be a number from 0.01 to 100"},
      {R"("logit_bias":[])", "logit_bias: 'logit_bias' is an empty list; it must be an object"},
      {R"("logit_bias":{"the":1})",
       "logit_bias: 'logit_bias' has the name \"the\"; names must be token ids, as \"42\""},
      {R"("logit_bias":{"-1":1})",
       "logit_bias: 'logit_bias' has the name \"-1\"; names must be token ids, as \"42\""},
      {R"("logit_bias":{"5":101})",
       "logit_bias.5: 'logit_bias.5' is 101; it must be a number from -100 to 100"},
      {R"("seed":1.5)", "seed: 'seed' is 1.5; it must be a whole number from -2^63 to 2^64 - 1"},
      {R"("stop":"")",
       "stop: 'stop' has an empty string; it must be a string or a list of at most 16, none of them empty"},
      {R"("stop":["a",""])",
       "stop: 'stop' has an empty string; it must be a string or a list of at most 16, none of them empty"},
      {R"("stop":["a",2])", "stop[1]: 'stop[1]' is 2; it must be a string"},
      {R"("stop":5)", "stop: 'stop' is 5; it must be a string or a list of at most 16, none of them empty"},
      {R"("stop":["","","","","","","","","","","","","","","","",""])",
       "stop: 'stop' has 17 strings; it must be a string or a list of at most 16, none of them empty"},
      {R"("ignore_eos":0)", "ignore_eos: 'ignore_eos' is 0; it must be true or false"},
      {R"("priority":3000000000)",
       "priority: 'priority' is 3000000000; it must be a whole number from -2147483647 to 2147483647"},
      {R"("timeout":0)", "timeout: 'timeout' is 0; it must be a number of seconds above 0"},
      {R"("timeout":1e30)", "timeout: 'timeout' is 1e+30; it must be a number from 0 to 1e+09"},
      {R"("response_format":"json")", "response_format: 'response_format' is \"json\"; it must be an object"},
      {R"("response_format":{})",
       "response_format.type: 'response_format.type' is missing; it must be \"text\", \"json_object\" or "
       "\"json_schema\""},
      {R"("response_format":{"type":"xml"})",
       "response_format.type: 'response_format.type' is \"xml\"; it must be \"text\", \"json_object\" or "
       "\"json_schema\""},
      {R"("response_format":{"type":"json_schema"})",
       "response_format.json_schema: 'response_format.json_schema' is missing; it must be an object with "
       "\"name\" and \"schema\""},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":{}}})",
       "response_format.json_schema.name: 'response_format.json_schema.name' is \"a b\"; it must be 1 to 64 "
       "letters, digits, underscores, hyphens and dots"},
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"a","schema":true}})",
       "response_format.json_schema.schema: 'response_format.json_schema.schema' is true; it must be an "
       "object"},
      {R"("max_tokens":0)", "max_tokens: 'max_tokens' is 0; it must be a whole number of at least 1"},
  };
  for (const Case& c : both) {
    EXPECT_EQ(Told(ParseChatCompletion(Chat(c.fields)).status()), c.told);
    EXPECT_EQ(Told(ParseCompletion(Completion(c.fields)).status()), c.told);
  }

  const std::string tool = R"("tools":[{"type":"function","function":)";
  const std::string f = tool + R"({"name":"f"}}])";
  const std::vector<Case> chat = {
      {R"("max_completion_tokens":5,"max_tokens":6)",
       "max_tokens: 'max_tokens' is 6 and 'max_completion_tokens' is 5; give one of them"},
      {R"("logprobs":5)", "logprobs: 'logprobs' is 5; it must be true or false"},
      {R"("top_logprobs":5)", "top_logprobs: 'top_logprobs' can only be given with \"logprobs\": true"},
      {R"("logprobs":true,"top_logprobs":21)",
       "top_logprobs: 'top_logprobs' is 21; it must be a whole number from 0 to 20"},
      {R"("modalities":["text","audio"])",
       "modalities[1]: 'modalities[1]' is \"audio\"; it must be \"text\""},
      {R"("tools":{})", "tools: 'tools' is an object; it must be a list"},
      {R"("tools":["f"])",
       "tools[0]: 'tools[0]' is \"f\"; it must be an object with \"type\" and \"function\""},
      {R"("tools":[{"function":{"name":"f"}}])",
       "tools[0].type: 'tools[0].type' is missing; it must be \"function\""},
      {R"("tools":[{"type":"custom","custom":{"name":"f"}}])",
       "tools[0].type: 'tools[0].type' is \"custom\"; it must be \"function\""},
      {R"("tools":[{"type":"function"}])",
       "tools[0].function: 'tools[0].function' is missing; it must be an object with a \"name\""},
      {tool + R"({"name":"é"}}])",
       "tools[0].function.name: 'tools[0].function.name' is \"é\"; it must be 1 to 64 letters, digits, "
       "underscores, hyphens and dots"},
      {tool + R"({"name":"f","parameters":[]}}])",
       "tools[0].function.parameters: 'tools[0].function.parameters' is an empty list; it must be an object"},
      {tool + R"({"name":"f","description":1}}])",
       "tools[0].function.description: 'tools[0].function.description' is 1; it must be a string"},
      {tool + R"({"name":"f","strict":"y"}}])",
       "tools[0].function.strict: 'tools[0].function.strict' is \"y\"; it must be true or false"},
      {R"("tool_choice":"required")",
       "tool_choice: 'tool_choice' is \"required\", but the request has no \"tools\""},
      {f + R"(,"tool_choice":"any")",
       "tool_choice: 'tool_choice' is \"any\"; it must be \"none\", \"auto\", \"required\" or {\"type\": "
       "\"function\", \"function\": {\"name\": …}}"},
      {f + R"(,"tool_choice":1)",
       "tool_choice: 'tool_choice' is 1; it must be \"none\", \"auto\", \"required\" or {\"type\": "
       "\"function\", \"function\": {\"name\": …}}"},
      {f + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})",
       "tool_choice.function.name: 'tool_choice.function.name' is \"g\"; it must be one of \"tools\": f"},
      {R"("tool_choice":{"type":"function","function":{"name":"g"}})",
       "tool_choice.function.name: 'tool_choice.function.name' is \"g\"; it must be in \"tools\", and there "
       "are none"},
      {f + R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}})",
       "tool_choice.allowed_tools.tools: 'tool_choice.allowed_tools.tools' is missing; it must be a list of "
       "at "
       "least one tool"},
      {f + R"(,"parallel_tool_calls":1)",
       "parallel_tool_calls: 'parallel_tool_calls' is 1; it must be true or false"},
      {R"("functions":[])", "functions: 'functions' is not supported; use \"tools\" and \"tool_choice\""},
      {R"("chat_template_kwargs":1)",
       "chat_template_kwargs: 'chat_template_kwargs' is 1; it must be an object"},
      {R"("chat_template_kwargs":{"messages":[]})",
       "chat_template_kwargs.messages: 'chat_template_kwargs.messages' cannot be given here; it is a field "
       "of "
       "the request itself"},
  };
  for (const Case& c : chat) EXPECT_EQ(Told(ParseChatCompletion(Chat(c.fields)).status()), c.told);

  const std::vector<Case> completion = {
      {R"("suffix":"end")",
       "suffix: 'suffix' is not supported: text cannot be inserted before a suffix; leave it out"},
      {R"("best_of":2)", "best_of: 'best_of' is 2 and 'n' is 1; only best_of equal to n is supported"},
      {R"("logprobs":true)", "logprobs: 'logprobs' is true; it must be a whole number from 0 to 20"},
      {R"("logprobs":21)", "logprobs: 'logprobs' is 21; it must be a whole number from 0 to 20"},
      {R"("echo":"no")", "echo: 'echo' is \"no\"; it must be true or false"},
  };
  for (const Case& c : completion) EXPECT_EQ(Told(ParseCompletion(Completion(c.fields)).status()), c.told);
}

TEST(OpenAiRequestError, Messages) {
  struct Case {
    std::string messages, told;
  };
  const std::string content = "it must be a string or a list of parts of type \"text\"";
  const std::string call = R"([{"role":"assistant","tool_calls":[)";
  for (
      const Case& c : std::vector<Case>{
          {"null", "messages: 'messages' is missing; it must be a list of at least one message"},
          {"[]", "messages: 'messages' is an empty list; it must be a list of at least one message"},
          {R"("hi")", "messages: 'messages' is \"hi\"; it must be a list"},
          {R"(["hi"])",
           "messages[0]: 'messages[0]' is \"hi\"; it must be an object with \"role\" and \"content\""},
          {R"([{"content":"hi"}])",
           "messages[0].role: 'messages[0].role' is missing; it must be \"system\", \"developer\", \"user\", "
           "\"assistant\", \"tool\" or \"function\""},
          {R"([{"role":"human","content":"hi"}])",
           "messages[0].role: 'messages[0].role' is \"human\"; it must be \"system\", \"developer\", "
           "\"user\", \"assistant\", \"tool\" or \"function\""},
          {R"([{"role":5,"content":"hi"}])",
           "messages[0].role: 'messages[0].role' is 5; it must be a string"},
          {R"([{"role":"user"}])", "messages[0].content: 'messages[0].content' is missing; " + content},
          {R"([{"role":"user","content":"a"},{"role":"user","content":null}])",
           "messages[1].content: 'messages[1].content' is missing; " + content},
          {R"([{"role":"user","content":5}])", "messages[0].content: 'messages[0].content' is 5; " + content},
          {R"([{"role":"user","content":["hi"]}])",
           "messages[0].content[0]: 'messages[0].content[0]' is \"hi\"; it must be an object with a "
           "\"type\""},
          {R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}])",
           "messages[0].content[1].type: 'messages[0].content[1].type' is \"image_url\"; it must be "
           "\"text\": "
           "this model reads text alone"},
          {R"([{"role":"user","content":[{"type":"refusal","refusal":"a"}]}])",
           "messages[0].content[0].type: 'messages[0].content[0].type' is \"refusal\"; it must be \"text\": "
           "this model reads text alone"},
          {R"([{"role":"user","content":[{"text":"a"}]}])",
           "messages[0].content[0].type: 'messages[0].content[0].type' is missing; it must be \"text\": this "
           "model reads text alone"},
          {R"([{"role":"user","content":[{"type":"text"}]}])",
           "messages[0].content[0].text: 'messages[0].content[0].text' is missing; it must be a string"},
          {R"([{"role":"user","content":[{"type":"text","text":1}]}])",
           "messages[0].content[0].text: 'messages[0].content[0].text' is 1; it must be a string"},
          {R"([{"role":"user","content":"a","name":1}])",
           "messages[0].name: 'messages[0].name' is 1; it must be a string"},
          {R"([{"role":"tool","content":"a"}])",
           "messages[0].tool_call_id: 'messages[0].tool_call_id' is missing; it must be a string"},
          {R"([{"role":"function","content":"a"}])",
           "messages[0].name: 'messages[0].name' is missing; it must be a string"},
          {R"([{"role":"assistant","tool_calls":[]}])",
           "messages[0].content: 'messages[0].content' is missing; " + content},
          {R"([{"role":"assistant","tool_calls":{}}])",
           "messages[0].tool_calls: 'messages[0].tool_calls' is an object; it must be a list"},
          {R"([{"role":"assistant","function_call":{}}])",
           "messages[0].function_call: 'messages[0].function_call' is an object; it must be absent; use "
           "\"tool_calls\""},
          {call + "5]}]",
           "messages[0].tool_calls[0]: 'messages[0].tool_calls[0]' is 5; it must be an object with \"id\", "
           "\"type\" and \"function\""},
          {call + R"({"type":"function"}]}])",
           "messages[0].tool_calls[0].id: 'messages[0].tool_calls[0].id' is missing; it must be a string"},
          {call + R"({"id":"a","type":"custom"}]}])",
           "messages[0].tool_calls[0].type: 'messages[0].tool_calls[0].type' is \"custom\"; it must be "
           "\"function\""},
          {call + R"({"id":"a"}]}])",
           "messages[0].tool_calls[0].function: 'messages[0].tool_calls[0].function' is missing; it must be "
           "an "
           "object with \"name\" and \"arguments\""},
          {call + R"({"id":"a","function":{"name":"f","arguments":{}}}]}])",
           "messages[0].tool_calls[0].function.arguments: 'messages[0].tool_calls[0].function.arguments' is "
           "an "
           "object; it must be a string"},
      }) {
    EXPECT_EQ(Told(ParseChatCompletion(R"({"messages":)" + c.messages + "}").status()), c.told);
    EXPECT_EQ(Told(ParseApplyTemplate(R"({"messages":)" + c.messages + "}").status()), c.told);
  }
}

TEST(OpenAiRequestError, Prompts) {
  const std::string what =
      "it must be a string, a list of strings, a list of token ids or a list of lists of token ids";
  struct Case {
    std::string prompt, told;
  };
  for (const Case& c : std::vector<Case>{
           {"null", "prompt: 'prompt' is null; " + what},
           {"[]", "prompt: 'prompt' is an empty list; " + what},
           {"{}", "prompt: 'prompt' is an object; " + what},
           {"7", "prompt: 'prompt' is 7; " + what},
           {"[1,-1]", "prompt[1]: 'prompt[1]' is -1; it must be a token id"},
           {"[1.5]", "prompt[0]: 'prompt[0]' is 1.5; it must be a token id"},
           {"[2147483648]", "prompt[0]: 'prompt[0]' is 2147483648; it must be a token id"},
           {R"([1,"a"])", "prompt[1]: 'prompt[1]' is \"a\"; it must be a token id"},
           {R"(["a",1])", "prompt[1]: 'prompt[1]' is 1; it must be a string, as those before it"},
           {"[[1],[]]",
            "prompt[1]: 'prompt[1]' is an empty list; it must be a list of at least one token id"},
           {"[[1],[2,null]]", "prompt[1][1]: 'prompt[1][1]' is null; it must be a token id"},
           {"[true]", "prompt[0]: 'prompt[0]' is true; it must be a list of at least one token id"},
       }) {
    EXPECT_EQ(Told(ParseCompletion(R"({"prompt":)" + c.prompt + "}").status()), c.told);
  }
  EXPECT_EQ(Told(ParseCompletion("{}").status()), "prompt: 'prompt' is missing; " + what);
  std::string many = "[\"\"";
  for (int i = 1; i < 17; ++i) many += ",\"\"";
  EXPECT_EQ(Told(ParseCompletion(R"({"n":128,"prompt":)" + many + "]}").status()),
            "n: 'n' is 128 for each of 17 prompts; at most 2048 choices can be asked for");
}

TEST(OpenAiRequestError, TooMany) {
  const auto repeated = [](size_t count, auto item) {
    std::string list;
    for (size_t i = 0; i < count; ++i) list += (i == 0 ? "" : ",") + item(std::to_string(i));
    return list;
  };
  const auto member = [](const std::string& i) { return "\"" + i + "\":1"; };
  const auto tool = [](const std::string& i) {
    return R"({"type":"function","function":{"name":"f)" + i + "\"}}";
  };
  EXPECT_EQ(Told(ParseChatCompletion(Chat("\"logit_bias\":{" + repeated(1025, member) + "}")).status()),
            "logit_bias: 'logit_bias' has 1025 members; at most 1024 can be given");
  EXPECT_EQ(
      Told(ParseChatCompletion(Chat("\"chat_template_kwargs\":{" + repeated(65, member) + "}")).status()),
      "chat_template_kwargs: 'chat_template_kwargs' has 65 members; at most 64 can be given");
  EXPECT_EQ(Told(ParseChatCompletion(Chat("\"tools\":[" + repeated(129, tool) + "]")).status()),
            "tools: 'tools' has 129 members; at most 128 can be given");
  const auto prompt = [](const std::string&) { return std::string("\"\""); };
  EXPECT_EQ(Told(ParseCompletion("{\"prompt\":[" + repeated(2049, prompt) + "]}").status()),
            "prompt: 'prompt' is a list of 2049 prompts; at most 2048 can be given");
}

TEST(OpenAiRequestError, BodiesThatAreNoObjects) {
  struct Case {
    std::string body, told;
  };
  for (const Case& c : std::vector<Case>{
           {"", "null: the body of the request is not valid JSON: line 1, column 1"},
           {"[]", "null: the body of the request is not a JSON object"},
           {"{\"a\":\n tru}", "null: the body of the request is not valid JSON: line 2, column 5"},
           {"{} {}", "null: the body of the request is not valid JSON: line 1, column 4"},
           {"{\"a\":\"\xFF\"}", "null: the body of the request is not UTF-8: line 1, column 7"},
           {"{\"a\":\"\\ud800\"}", "null: the body of the request is not valid JSON: line 1, column 13"},
           {"{\"a\":" + std::string(100, '['),
            "null: the body of the request has objects or lists nested more than 64 deep"},
       }) {
    for (const absl::Status& status : {ParseChatCompletion(c.body).status(), ParseCompletion(c.body).status(),
                                       ParseTokenize(c.body).status(), ParseDetokenize(c.body).status(),
                                       ParseApplyTemplate(c.body).status()}) {
      EXPECT_EQ(Told(status), c.told);
    }
  }
}

TEST(OpenAiRequestError, LongValuesAreShortenedBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "ł";
  const absl::Status status = ParseChatCompletion(Chat(R"("n":")" + text + "\"")).status();
  EXPECT_EQ(Told(status),
            "n: 'n' is \"" + text.substr(0, 60) + "\"…; it must be a whole number from 1 to 128");
}

TEST(OpenAiRequestError, Tokens) {
  EXPECT_EQ(Told(ParseTokenize("{}").status()),
            "prompt: 'prompt' is missing; it must be a string, or \"messages\" must be given");
  EXPECT_EQ(Told(ParseTokenize(R"({"prompt":5})").status()), "prompt: 'prompt' is 5; it must be a string");
  EXPECT_EQ(Told(ParseTokenize(Chat(R"("prompt":"a")")).status()),
            "prompt: 'prompt' is \"a\"; it must be absent where there are \"messages\"");
  EXPECT_EQ(Told(ParseDetokenize("{}").status()),
            "tokens: 'tokens' is missing; it must be a list of token ids");
  EXPECT_EQ(Told(ParseDetokenize(R"({"tokens":[1,"a"]})").status()),
            "tokens[1]: 'tokens[1]' is \"a\"; it must be a token id");
}

}  // namespace
}  // namespace longspan
