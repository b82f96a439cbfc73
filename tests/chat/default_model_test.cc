// The default model is a base model without a chat template.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runtime/chat/chat_template.h"

namespace longspan {
namespace {

TEST(ChatDefaultModelTest, PlainLinesAfterOneBos) {
  const char* path = std::getenv("LONGSPAN_TEST_MODEL");
  ASSERT_NE(path, nullptr)
      << "set LONGSPAN_TEST_MODEL to the default model; launcher/fetch-model prints its path";
  const absl::StatusOr<ModelFiles> files = ModelFiles::Open(path);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tokenizer = Tokenizer::Create(*files);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Spelling(2), "<bos>");
  EXPECT_EQ((*tokenizer)->TokenBytes(2), "");
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::Create(*files, tokenizer->get());
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_FALSE(chat->from_model());
  const std::string prompt =
      chat->Render({{"messages", {{{"role", "user"}, {"content", "Hi"}}}}}, {}).value();
  EXPECT_EQ(prompt, "User: Hi\nAssistant:");
  EXPECT_EQ(chat->Encode(prompt).value(), (*tokenizer)->Encode("User: Hi\nAssistant:", {}).value());
  EXPECT_EQ(chat->Encode(prompt)->at(0), 2);
}

}  // namespace
}  // namespace longspan
