#include "launcher/text_files.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace longspan {
namespace {

using Ids = std::vector<int32_t>;

std::string WriteTemporary(const std::string& name, const std::string& content) {
  const std::string path = ::testing::TempDir() + name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fwrite(content.data(), 1, content.size(), file);
  std::fclose(file);
  return path;
}

TEST(TextFilesTest, ReadsWholeFiles) {
  const std::string content("a\0b\nc", 5);
  EXPECT_EQ(ReadTextFile(WriteTemporary("text_files_test.txt", content)).value(), content);
  const absl::Status missing = ReadTextFile("/nonexistent/file").status();
  EXPECT_EQ(missing.message(), "cannot read /nonexistent/file: No such file or directory");
  EXPECT_NE(ReadTextFile("/").status().message().find("folder"), absl::string_view::npos);
}

TEST(TextFilesTest, SplitsLines) {
  using Lines = std::vector<std::string_view>;
  EXPECT_EQ(SplitLines(""), Lines());
  EXPECT_EQ(SplitLines("a"), Lines({"a"}));
  EXPECT_EQ(SplitLines("a\n"), Lines({"a"}));
  EXPECT_EQ(SplitLines("\na\n\nb"), Lines({"", "a", "", "b"}));
}

TEST(TextFilesTest, ReadsTokenIdsFromTheOption) {
  EXPECT_EQ(ReadTokenIds("1,2,3").value(), Ids({1, 2, 3}));
  EXPECT_EQ(ReadTokenIds("7").value(), Ids({7}));
  for (const char* text : {"", "1,,2", "a", "1;2", "-1", "2147483648", "1,2,"}) {
    EXPECT_FALSE(ReadTokenIds(text).ok()) << text;
  }
}

TEST(TextFilesTest, ReadsTokenIdsFromFiles) {
  EXPECT_EQ(ReadTokenIds("@" + WriteTemporary("ids.json", " [4, 5,\n6]\n")).value(), Ids({4, 5, 6}));
  const std::string golden = std::string(LONGSPAN_GOLDENS_DIR) + "/llama3-gqa/tokens.npy";
  EXPECT_EQ(ReadTokenIds("@" + golden).value().size(), 200u);
  const absl::Status matrix =
      ReadTokenIds("@" + std::string(LONGSPAN_GOLDENS_DIR) + "/llama3-gqa/logits.npy").status();
  EXPECT_NE(matrix.message().find("logits.npy"), absl::string_view::npos) << matrix;
}

TEST(TextFilesTest, RefusesArraysOfOtherThings) {
  for (const char* text :
       {"", "{}", "[1.5]", "[\"a\"]", "[1, -2]", "[99999999999]", "[18446744073709551615]", "[1"}) {
    const absl::Status status = ParseTokenIdArray(text, "ids.json").status();
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.message().find("ids.json: "), 0u) << status;
  }
}

}  // namespace
}  // namespace longspan
