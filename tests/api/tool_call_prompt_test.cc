#include "runtime/api/tool_call_prompt.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

using nlohmann::ordered_json;

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}},
                                           {"type":"function","function":{"name":"g"}}])";
const std::string& Told() {
  static const auto* told = new std::string(
      R"(You can call these functions, each described by a JSON object:
{"name":"f","parameters":{"b":1,"a":2}}
{"name":"g"}
To call a function, answer with JSON and nothing else: {"name": the function's name, "arguments": an object of its arguments})");
  return *told;
}

ordered_json Messages(const std::string& messages) {
  return TellTools(
      ordered_json::parse("{\"thinking\":true," + std::string(kTools) + ",\"messages\":" + messages + "}"));
}

TEST(ToolCallPrompt, TheFirstMessageTellsTheTools) {
  EXPECT_EQ(Messages(R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}])"),
            (ordered_json{{"thinking", true},
                          {"messages",
                           {{{"role", "system"}, {"content", Told() + "\n\nBe brief."}},
                            {{"role", "user"}, {"content", "Hi"}}}}}));
  EXPECT_EQ(Messages(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])")
                ["messages"][0]["content"],
            Told() + "\n\nab");
  EXPECT_EQ(
      Messages(R"([{"role":"assistant","content":"Hello"}])")["messages"],
      (ordered_json{{{"role", "user"}, {"content", Told()}}, {{"role", "assistant"}, {"content", "Hello"}}}));
}

TEST(ToolCallPrompt, CallsAndResultsBecomeTexts) {
  const ordered_json messages = Messages(R"([
    {"role":"user","content":"Go."},
    {"role":"assistant","content":null,"tool_calls":[
      {"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},
      {"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"2","content":"two"},
    {"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"one"}]},
    {"role":"user","content":"And?"},
    {"role":"assistant","content":"So."},
    {"role":"function","name":"g","content":"three"}])")["messages"];
  EXPECT_EQ(messages,
            (ordered_json{{{"role", "user"}, {"content", Told() + "\n\nGo."}},
                          {{"role", "assistant"},
                           {"content",
                            "{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n"
                            "{\"name\": \"g\", \"arguments\": {}}"}},
                          {{"role", "user"}, {"content", "Result of g: two\nResult of f: one\nAnd?"}},
                          {{"role", "assistant"}, {"content", "So."}},
                          {{"role", "user"}, {"content", "Result of g: three"}}}));
}

TEST(ToolCallPrompt, WithoutToolsTheConversationStays) {
  const ordered_json conversation = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  EXPECT_EQ(TellTools(conversation), conversation);
  EXPECT_TRUE(TemplateKnowsTools("{% if tools %}"));
  EXPECT_FALSE(TemplateKnowsTools("{{ messages }}"));
}

}  // namespace
}  // namespace longspan
