#include "runtime/chat/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "tests/model/test_files.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

// The golden's tokenizer with a template of the test's own.
class ChatTemplateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      WriteFile(folder_ / name, ReadFile(Golden("llama3-gqa/") + name));
    }
  }

  absl::StatusOr<ChatTemplate> Create(const std::string& text = "") {
    if (!text.empty()) WriteFile(folder_ / "chat_template.jinja", text);
    const absl::StatusOr<ModelFiles> files = ModelFiles::Open(folder_.path());
    EXPECT_TRUE(files.ok()) << files.status();
    auto tokenizer = Tokenizer::Create(*files);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    return ChatTemplate::Create(*files, tokenizer_.get());
  }

  absl::StatusOr<std::string> Render(const std::string& text, const ordered_json& conversation) {
    const absl::StatusOr<ChatTemplate> chat = Create(text);
    if (!chat.ok()) return chat.status();
    std::tm now{};
    now.tm_year = 101;
    now.tm_mday = 1;
    return chat->Render(conversation, now);
  }

  // The text, or the error.
  std::string Rendered(const std::string& text, const ordered_json& conversation) {
    const absl::StatusOr<std::string> prompt = Render(text, conversation);
    return prompt.ok() ? *prompt : prompt.status().ToString();
  }

  TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

ordered_json Ask(const std::string& text) { return {{"messages", {{{"role", "user"}, {"content", text}}}}}; }

TEST_F(ChatTemplateTest, TheModelsOwn) {
  const absl::StatusOr<ChatTemplate> chat = Create();
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE(chat->from_model());
  const std::string prompt = chat->Render(Ask(" Who decides? "), {}).value();
  EXPECT_EQ(prompt, "<s>[user] Who decides?\n[assistant]");
  // The template's BOS becomes the token, and no second one is added.
  const std::vector<int32_t> ids = chat->Encode(prompt).value();
  EXPECT_EQ(ids, tokenizer_->Encode("[user] Who decides?\n[assistant]", {}).value());
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer_->bos_id()), 1);
}

TEST_F(ChatTemplateTest, WithoutOnePlainLines) {
  WriteFile(folder_ / "tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>"})");
  const absl::StatusOr<ChatTemplate> chat = Create();
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_FALSE(chat->from_model());
  ordered_json conversation = Ask(" Who </s> decides?\n");
  conversation["messages"].push_back({{"role", "assistant"}, {"content", "Memory."}});
  conversation["messages"].push_back({{"role", "user"}, {"content", "Why?"}});
  const std::string prompt = chat->Render(conversation, {}).value();
  EXPECT_EQ(prompt, "User: Who </s> decides?\nAssistant: Memory.\nUser: Why?\nAssistant:");
  // As any text: BOS before it, and no special tokens in it.
  const std::vector<int32_t> ids = chat->Encode(prompt).value();
  EXPECT_EQ(ids, tokenizer_->Encode(prompt, {}).value());
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer_->eos_ids().at(0)), 0);
}

TEST_F(ChatTemplateTest, WhatTemplatesAreGiven) {
  EXPECT_EQ(Rendered("{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ documents is none }}{{ "
                     "add_generation_prompt }}"
                     "{{ strftime_now('%d.%m.%Y') }}",
                     Ask("x")),
            "<s></s>TrueTrueTrue01.01.2001");
  ordered_json conversation = Ask("x");
  conversation["tools"] = {{{"z", 1}, {"a", 2}}};
  conversation["add_generation_prompt"] = false;
  conversation["enable_thinking"] = true;
  EXPECT_EQ(Rendered("{{ tools | tojson }}{{ add_generation_prompt }}{{ enable_thinking }}", conversation),
            R"([{"z": 1, "a": 2}]FalseTrue)");
}

TEST_F(ChatTemplateTest, PartsOfTextBecomeOne) {
  const ordered_json parts = {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}};
  const ordered_json conversation = {{"messages", {{{"role", "user"}, {"content", parts}}}}};
  EXPECT_EQ(Rendered("{{ messages[0].content + '!' }}", conversation), "ab!");
}

TEST_F(ChatTemplateTest, ArgumentsAreObjectsUnlessTheTemplateWantsTexts) {
  const auto conversation = [](const ordered_json& arguments) -> ordered_json {
    const ordered_json call = {{"function", {{"name", "f"}, {"arguments", arguments}}}};
    return {{"messages", {{{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}}}}};
  };
  const std::string text = R"({"b": 1, "a": "é"})";
  const std::string as_json = "{{ messages[0].tool_calls[0].function.arguments | tojson }}";
  const std::string as_text = "{{ 'x' + messages[0].tool_calls[0].function.arguments }}";
  EXPECT_EQ(Rendered(as_json, conversation(text)), text);
  EXPECT_EQ(Rendered(as_json, conversation(ordered_json::parse(text))), text);
  EXPECT_EQ(Rendered(as_json, conversation("no JSON")), "\"no JSON\"");
  EXPECT_EQ(Rendered(as_text, conversation(text)), "x" + text);
}

TEST_F(ChatTemplateTest, ErrorsNameTheMessage) {
  const std::string text = "{{ messages[0].content }}";
  for (const auto& [messages, expected] : std::vector<std::pair<std::string, std::string>>{
           {"null", "messages must be a list"},
           {"[]", "messages must be a list of at least one message"},
           {R"(["hi"])", "messages[0] must be an object with a \"role\""},
           {R"([{"role": "user", "content": "a"}, {"content": "b"}])",
            "messages[1] must be an object with a \"role\""},
           {R"([{"role": "user"}])", "messages[0] has no \"content\""},
           {R"([{"role": "user", "content": 4}])", "messages[0].content must be a text"},
           {R"([{"role": "user", "content": ["a"]}])",
            "messages[0].content has a part that is not an object"},
           {R"([{"role": "user", "content": [{"type": "image_url"}]}])", "of type \"image_url\""},
           {R"([{"role": "user", "content": [{"type": "text"}]}])", "without a \"text\""},
           {R"([{"role": "assistant", "content": "", "tool_calls": [{}]}])",
            "messages[0].tool_calls must be"},
           {R"([{"role": "assistant", "content": "", "tool_calls": 5}])", "messages[0].tool_calls must be"},
       }) {
    ExpectError(Render(text, {{"messages", ordered_json::parse(messages)}}).status(), {expected});
  }
  ExpectError(Render(text, ordered_json::object()).status(), {"messages must be a list"});
}

TEST_F(ChatTemplateTest, WhatTheTemplateRefuses) {
  const absl::StatusOr<std::string> refused =
      Render("{{ raise_exception('No ' + messages[0].role) }}", Ask("x"));
  EXPECT_EQ(refused.status(), absl::InvalidArgumentError("No user"));
  ExpectError(Create("a\n{% for %}").status(), {folder_.path(), "line 2"});
}

}  // namespace
}  // namespace longspan
