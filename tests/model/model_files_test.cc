#include "runtime/model/model_files.h"

#include "tests/model/test_files.h"
#include "tests/tools/gguf_writer.h"

namespace longspan {
namespace {

std::optional<std::string> TemplateOf(const std::string& path) {
  const absl::StatusOr<ModelFiles> files = ModelFiles::Open(path);
  EXPECT_TRUE(files.ok()) << files.status();
  return files.ok() ? files->ChatTemplate() : std::nullopt;
}

TEST(ModelFilesTest, ChatTemplateOfAFolder) {
  TempFolder folder;
  const std::string config = folder / "tokenizer_config.json";
  EXPECT_EQ(TemplateOf(folder.path()), std::nullopt);
  WriteFile(folder / "chat_template.json", R"({"chat_template": "C"})");
  EXPECT_EQ(TemplateOf(folder.path()), "C");
  WriteFile(config, R"({"chat_template": null})");
  EXPECT_EQ(TemplateOf(folder.path()), "C");
  WriteFile(config, R"({"chat_template": "{{ a }}\n"})");
  EXPECT_EQ(TemplateOf(folder.path()), "{{ a }}\n");
  WriteFile(config, R"({"chat_template": [{"name": "tool_use", "template": "T"},
                                          {"name": "default", "template": "D"}]})");
  EXPECT_EQ(TemplateOf(folder.path()), "D");
  WriteFile(folder / "chat_template.jinja", "{{ jinja }}");
  EXPECT_EQ(TemplateOf(folder.path()), "{{ jinja }}");
}

TEST(ModelFilesTest, BrokenChatTemplatesAreNamed) {
  TempFolder folder;
  const std::string config = folder / "tokenizer_config.json";
  WriteFile(config, R"({"chat_template": 5})");
  ExpectError(ModelFiles::Open(folder.path()).status(), {"tokenizer_config.json: chat_template is neither"});
  WriteFile(config, R"({"chat_template": [{"name": "default", "template": 5}]})");
  ExpectError(ModelFiles::Open(folder.path()).status(), {"chat_template.template is not a string"});
  WriteFile(config, "{");
  ExpectError(ModelFiles::Open(folder.path()).status(), {"tokenizer_config.json: is not a JSON object"});
  WriteFile(config, R"({"a": )" + std::string(200, '[') + std::string(200, ']') + "}");
  ExpectError(ModelFiles::Open(folder.path()).status(),
              {"tokenizer_config.json: is nested more than 100 deep"});
}

TEST(ModelFilesTest, ChatTemplateOfAGgufFile) {
  TempFolder folder;
  GgufWriter writer;
  writer.AddString("tokenizer.chat_template", "{{ gguf }}");
  ASSERT_TRUE(writer.Write(folder / "v.gguf", [](size_t, std::span<std::byte>) {}).ok());
  EXPECT_EQ(TemplateOf(folder / "v.gguf"), "{{ gguf }}");
  EXPECT_EQ(TemplateOf(Golden("gguf-llama/q4_k.gguf")), std::nullopt);
}

}  // namespace
}  // namespace longspan
