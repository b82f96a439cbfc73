#include "runtime/api/tool_call_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/api/listed_tokens.h"

namespace longspan {
namespace {

using Format = ToolCallFormat;

// What was heard, as text: content as it is, calls as "«name|arguments»".
class Heard final : public ToolCallListener {
 public:
  void OnContent(std::string_view part) override {
    EXPECT_FALSE(part.empty());
    Close();
    text += part;
  }
  void OnCall(std::string_view name) override {
    Close();
    text += "«" + std::string(name) + "|";
    in_call_ = true;
  }
  void OnArguments(std::string_view fragment) override {
    EXPECT_FALSE(fragment.empty());
    EXPECT_TRUE(in_call_);
    text += fragment;
  }
  std::string Take() {
    Close();
    return std::exchange(text, {});
  }

  std::string text;

 private:
  void Close() {
    if (std::exchange(in_call_, false)) text += "»";
  }

  bool in_call_ = false;
};

std::string Parsed(const ToolCallParserOptions& options, const std::vector<std::string_view>& pieces) {
  Heard heard;
  ToolCallParser parser(options, &heard);
  for (const std::string_view piece : pieces) parser.Append(piece);
  parser.Finish();
  return heard.Take();
}

struct Case {
  Format format;
  std::string answer, heard;
};

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {Format::kHermes, "", ""},
      {Format::kHermes, "Hello.", "Hello."},
      {Format::kHermes, " a < b <tool> \n ", " a < b <tool> \n "},
      {Format::kHermes,
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, \"}\\\"\"]}}\n</tool_call>",
       "«f|{\"x\": [1, \"}\\\"\"]}»"},
      {Format::kHermes,
       "Let me see.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
       "{\"name\": \"unknown\", \"arguments\": {\"a\": {\"b\": 1}}}\n</tool_call>\n",
       "Let me see.«f|{}»«unknown|{\"a\": {\"b\": 1}}»"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>  Done, } so.",
       "«f|{}»Done, } so."},
      // Members in another order, more of them, none.
      {Format::kHermes, "<tool_call>{\"arguments\": {\"x\": 1}, \"name\": \"f\"}</tool_call>",
       "«f|{\"x\": 1}»"},
      {Format::kHermes,
       "<tool_call>{\"id\": 7, \"name\":\"f\",\"arguments\":{\"x\":1}, \"y\": [{}]}</tool_call>!",
       "«f|{\"x\":1}»!"},
      {Format::kHermes, "<tool_call>{\"name\": \"f\"}</tool_call>", "«f|{}»"},
      {Format::kHermes, "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", "«f|null»"},
      {Format::kHermes,
       "<tool_call>[{\"name\":\"f\",\"arguments\":{}}, {\"name\":\"g\",\"arguments\":{}}]</tool_call>",
       "«f|{}»«g|{}»"},
      // Arguments as a JSON string.
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}</tool_call>",
       "«f|{\"x\": 1}»"},
      {Format::kHermes, "<tool_call>{\"arguments\":\"{\\\"x\\\": 1}\",\"name\":\"f\"}</tool_call>",
       "«f|{\"x\": 1}»"},
      // A marker within a string is text.
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\"</tool_call>\"}}</tool_call>",
       "«f|{\"x\":\"</tool_call>\"}»"},
      // Broken JSON.
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": [1}}</tool_call> a",
       "«f|{\"x\": [1}}»a"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": 1}}}</tool_call>a",
       "«f|{\"x\": 1}»a"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": 1}</tool_call>a",
       "«f|{\"x\": 1}»a"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":tru</tool_call>a", "«f|tru»a"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": \"ab", "«f|{\"x\": \"ab»"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": 1 </tool", "«f|{\"x\": 1 </tool»"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"x", "«f|\"{\\\"x»"},
      {Format::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}", "«f|{\"x\":1}»"},
      // No calls.
      {Format::kHermes, "a <tool_call>{\"nom\": 1}</tool_call>", "a <tool_call>{\"nom\": 1}</tool_call>"},
      {Format::kHermes, "a <tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
       "a <tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>"},
      {Format::kHermes, "a <tool_call> no", "a <tool_call> no"},
      {Format::kHermes, "a <tool_call>{\"name\": \"f\", \"argum", "a <tool_call>{\"name\": \"f\", \"argum"},
      {Format::kHermes, "<tool_call>no <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
       "<tool_call>no«f|{}»"},

      {Format::kLlama3, "{\"name\": \"f\", \"parameters\": {\"x\": \"a\"}}", "«f|{\"x\": \"a\"}»"},
      {Format::kLlama3, "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}", "«f|{}»"},
      {Format::kLlama3, "<|python_tag|>{\"name\": \"any\", \"parameters\": {}}", "«any|{}»"},
      {Format::kLlama3, "I will. <|python_tag|>{\"name\": \"f\", \"arguments\": {}}", "I will.«f|{}»"},
      {Format::kLlama3,
       "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {\"y\": 2}}",
       "«f|{}»«g|{\"y\": 2}»"},
      {Format::kLlama3, "{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"g\", \"parameters\": {}}",
       "«f|{}»«g|{}»"},
      {Format::kLlama3, "{\"name\": \"f\", \"parameters\": {}} and so on", "«f|{}»and so on"},
      {Format::kLlama3, "{\"name\": \"Ada\", \"age\": 36}", "{\"name\": \"Ada\", \"age\": 36}"},
      {Format::kLlama3, "{\"name\": \"f\", \"age\": 36}", "{\"name\": \"f\", \"age\": 36}"},
      {Format::kLlama3, "{\"name\": \"f\"}", "{\"name\": \"f\"}"},
      {Format::kLlama3, " { it is a set }", " { it is a set }"},
      {Format::kLlama3, "[1] says so", "[1] says so"},
      {Format::kLlama3, "  \n", "  \n"},
      {Format::kLlama3, "Look: {\"name\": \"f\", \"parameters\": {}}",
       "Look: {\"name\": \"f\", \"parameters\": {}}"},
      {Format::kLlama3, "<|python_tag|>print(1)", "<|python_tag|>print(1)"},

      {Format::kMistral, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"x\": 1}, \"id\": \"123456789\"}]",
       "«f|{\"x\": 1}»"},
      {Format::kMistral,
       "Sure.[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]",
       "Sure.«f|{}»«g|{}»"},
      {Format::kMistral, "[TOOL_CALLS]{\"name\": \"f\", \"arguments\": {}}", "«f|{}»"},
      {Format::kMistral, "[TOOL_CALLS][[{\"name\": \"f\"}]]", "[TOOL_CALLS][[{\"name\": \"f\"}]]"},
      {Format::kMistral, "see [1] and [TOOL", "see [1] and [TOOL"},
      {Format::kMistralArgs, "[TOOL_CALLS]f[ARGS]{\"x\": {\"y\": []}}", "«f|{\"x\": {\"y\": []}}»"},
      {Format::kMistralArgs, "a [TOOL_CALLS]f[ARGS] {}[TOOL_CALLS]g.h-i[CALL_ID]abcdefghi[ARGS]{\"x\": 1}",
       "a«f|{}»«g.h-i|{\"x\": 1}»"},
      {Format::kMistralArgs, "[TOOL_CALLS]f{\"x\": 1}", "«f|{\"x\": 1}»"},
      {Format::kMistralArgs, "[TOOL_CALLS]f[ARGS]{\"x\": ", "«f|{\"x\": »"},
      {Format::kMistralArgs, "[TOOL_CALLS]f[ARGS]", "«f|»"},
      {Format::kMistralArgs, "[TOOL_CALLS]f and g", "[TOOL_CALLS]f and g"},
      {Format::kMistralArgs, "[TOOL_CALLS]f[ARG]{}", "[TOOL_CALLS]f[ARG]{}"},

      {Format::kJson, "{\"name\": \"f\", \"arguments\": {\"x\": 1}}", "«f|{\"x\": 1}»"},
      {Format::kJson, " [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]",
       "«f|{}»«g|{}»"},
      {Format::kJson, "<tool_call>{\"name\": \"f\"}", "<tool_call>{\"name\": \"f\"}"},
      {Format::kJson, "{\"name\": \"other\", \"arguments\": {}}", "{\"name\": \"other\", \"arguments\": {}}"},
  };
  return *cases;
}

ToolCallParserOptions Options(Format format) { return {format, {"f", "g"}, /*parallel=*/true}; }

TEST(ToolCallParser, AnyCutGivesTheSame) {
  for (const Case& c : Cases()) {
    const std::string_view text = c.answer;
    ASSERT_EQ(Parsed(Options(c.format), {text}), c.heard) << Name(c.format) << ": " << text;
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
    ASSERT_EQ(Parsed(Options(c.format), bytes), c.heard) << Name(c.format) << ": " << text;
    constexpr size_t kLongestMarker = 16;
    for (size_t i = 0; i <= text.size(); ++i) {
      for (size_t j = i; j <= std::min(text.size(), i + kLongestMarker); ++j) {
        ASSERT_EQ(Parsed(Options(c.format), {text.substr(0, i), text.substr(i, j - i), text.substr(j)}),
                  c.heard)
            << Name(c.format) << " cut at " << i << " and " << j << ": " << text;
      }
    }
  }
}

// Each piece, and all that was heard once it had arrived.
TEST(ToolCallParser, WhatCanBeSaidIsSaidAtOnce) {
  struct Step {
    const char* piece;
    const char* heard;
  };
  const std::vector<std::pair<Format, std::vector<Step>>> streams = {
      {Format::kHermes,
       {{"Well", "Well"},
        {", \n", "Well,"},
        {"then ", "Well, \nthen"},
        {"<tool", "Well, \nthen"},
        {"_box> ", "Well, \nthen <tool_box>"},
        {"<tool_call>", "Well, \nthen <tool_box>"},
        {"{\"name\": \"f\"", "Well, \nthen <tool_box>"},
        {", \"arguments\": ", "Well, \nthen <tool_box>"},
        {"{\"x\":", "Well, \nthen <tool_box>«f|{\"x\":"},
        {" 1", "Well, \nthen <tool_box>«f|{\"x\": 1"},
        {"}}", "Well, \nthen <tool_box>«f|{\"x\": 1}"}}},
      {Format::kLlama3, {{"{", ""}, {"\"name\": \"A", ""}, {"da\", \"", "{\"name\": \"Ada\", \""}}},
      {Format::kLlama3, {{" ", ""}, {"a", " a"}, {"{\"name", " a{\"name"}}},
      {Format::kMistralArgs, {{"[TOOL_CALLS]", ""}, {"f", ""}, {"[ARGS]", "«f|"}, {"{\"", "«f|{\""}}},
      {Format::kJson, {{"Yes", "Yes"}, {" \n", "Yes \n"}}},
  };
  for (const auto& [format, steps] : streams) {
    Heard heard;
    ToolCallParser parser(Options(format), &heard);
    for (const Step& step : steps) {
      parser.Append(step.piece);
      EXPECT_EQ(heard.text, step.heard) << Name(format) << " after " << step.piece;
    }
  }
}

TEST(ToolCallParser, OneCallWhereOneIsAskedFor) {
  ToolCallParserOptions options = Options(Format::kHermes);
  options.parallel = false;
  EXPECT_EQ(Parsed(options, {"<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}</tool_call>"
                             "<tool_call>{\"name\":\"g\",\"arguments\":{\"y\":2}}</tool_call> Done."}),
            "«f|{\"x\":1}»Done.");
}

TEST(ToolCallParser, LiteralsMakeACall) {
  for (const Format format :
       {Format::kJson, Format::kLlama3, Format::kHermes, Format::kMistral, Format::kMistralArgs}) {
    const ToolCallLiterals literals = LiteralsOf(format);
    const std::string answer = literals.before + "f" + literals.between + "{\"x\": 1}" + literals.after;
    EXPECT_EQ(Parsed(Options(format), {answer}), "«f|{\"x\": 1}»") << answer;
  }
}

TEST(ToolCallFormat, FollowsFromTheTemplate) {
  const std::vector<std::pair<const char*, Format>> expected = {{"hermes_tools", Format::kHermes},
                                                                {"qwen25_tools", Format::kHermes},
                                                                {"qwen3_thinking", Format::kHermes},
                                                                {"llama31_tools", Format::kLlama3},
                                                                {"mistral_tools", Format::kMistral},
                                                                {"llama3", Format::kJson},
                                                                {"qwen3_coder", Format::kJson},  // XML
                                                                {"glm", Format::kJson},          // XML
                                                                {"gemma3", Format::kJson},
                                                                {"chatml", Format::kJson}};
  for (const auto& [name, format] : expected) {
    std::ifstream file(std::string(LONGSPAN_CHAT_TEMPLATES_DIR) + "/" + name + ".jinja");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    ASSERT_FALSE(text.empty()) << name;
    EXPECT_EQ(Name(DetectToolCallFormat(text)), Name(format)) << name;
  }
  EXPECT_EQ(DetectToolCallFormat("'[TOOL_CALLS]' + name + '[ARGS]' + arguments"), Format::kMistralArgs);
  EXPECT_EQ(DetectToolCallFormat(""), Format::kJson);
}

TEST(ToolCallFormat, SpecialTokensThatMustBeSeen) {
  const ListedTokens tokenizer(
      {"</tool_call>", "a", "<tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<tool_call>"},
      {0, 2, 3, 4, 5});
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(ToolCallTokens(Format::kHermes, tokenizer), (Ids{0, 2}));
  EXPECT_EQ(ToolCallTokens(Format::kMistralArgs, tokenizer), (Ids{3, 4}));
  EXPECT_EQ(ToolCallTokens(Format::kLlama3, tokenizer), Ids{5});
  EXPECT_EQ(ToolCallTokens(Format::kJson, tokenizer), Ids{});
}

}  // namespace
}  // namespace longspan
