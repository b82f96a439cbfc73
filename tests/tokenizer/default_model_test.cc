// The default model's vocabulary: SentencePiece BPE of 262,144 pieces. Needs the model file, whose path is in
// the environment variable LONGSPAN_TEST_MODEL.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/model/gguf.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "tests/tokenizer/test_texts.h"

namespace longspan {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

class DefaultModelTokenizerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* path = std::getenv("LONGSPAN_TEST_MODEL");
    ASSERT_NE(path, nullptr) << "set LONGSPAN_TEST_MODEL to the default model's file";
    auto opened = GgufFile::Open(path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    file_ = opened->release();
    const auto vocabulary = ReadGgufVocabulary(*file_);
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
    auto created = CreateGgufTokenizer(*vocabulary);
    ASSERT_TRUE(created.ok()) << created.status();
    tokenizer_ = created->release();
  }
  static void TearDownTestSuite() {
    delete tokenizer_;
    delete file_;
    tokenizer_ = nullptr;
    file_ = nullptr;
  }
  void SetUp() override { ASSERT_NE(tokenizer_, nullptr); }

  static Json ReadJson(const std::string& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file.is_open()) << path;
    return Json::parse(file);
  }

  static GgufFile* file_;
  static Tokenizer* tokenizer_;
};
GgufFile* DefaultModelTokenizerTest::file_ = nullptr;
Tokenizer* DefaultModelTokenizerTest::tokenizer_ = nullptr;

TEST_F(DefaultModelTokenizerTest, ReadsItsMetadata) {
  EXPECT_EQ(tokenizer_->vocab_size(), 262144);
  EXPECT_EQ(tokenizer_->bos_id(), 2);
  EXPECT_EQ(tokenizer_->eos_ids(), (Ids{1}));
  EXPECT_FALSE(tokenizer_->strips_leading_space());
}

// data/default-model.json holds what sentencepiece made of texts in many scripts.
TEST_F(DefaultModelTokenizerTest, EqualsSentencePiece) {
  const Json cases = ReadJson(LONGSPAN_TOKENIZER_DATA_DIR "/default-model.json");
  ASSERT_GE(cases.size(), 200u);
  for (const Json& entry : cases) {
    const std::string text = entry["text"];
    const auto ids = tokenizer_->Encode(text, {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, entry["ids"].get<Ids>()) << "'" << text << "'";
    EXPECT_EQ(tokenizer_->Decode(*ids), text);
    EXPECT_EQ(Stream(*tokenizer_, *ids), text);
  }
}

TEST_F(DefaultModelTokenizerTest, EqualsThePromptsOfTheGreedyGoldens) {
  const Json cases = ReadJson(LONGSPAN_GOLDENS_DIR "/default-model/greedy.json");
  ASSERT_FALSE(cases.empty());
  for (const Json& entry : cases) {
    const Ids expected = entry["prompt_token_ids"];
    if (entry.contains("prompt")) {
      EXPECT_EQ(*tokenizer_->Encode(entry["prompt"].get<std::string>(), {}), expected);
      continue;
    }
    std::ifstream file(entry["prompt_file"].get<std::string>());
    if (!file.is_open()) continue;  // a Debian file; other systems may not have it
    std::stringstream text;
    text << file.rdbuf();
    // The golden holds the beginning of the file: the text was cut, so its last token may differ.
    const Ids ids = *tokenizer_->Encode(text.str(), {});
    ASSERT_GE(ids.size(), expected.size());
    EXPECT_EQ(Ids(ids.begin(), ids.begin() + expected.size() - 1), Ids(expected.begin(), expected.end() - 1));
    const std::string beginning = tokenizer_->Decode(expected);
    EXPECT_EQ(*tokenizer_->Encode(beginning, {}), expected);
    EXPECT_EQ(beginning, text.str().substr(0, beginning.size()));
  }
}

TEST_F(DefaultModelTokenizerTest, FindsTurnsOnlyWhenAsked) {
  constexpr std::string_view kTurn = "<start_of_turn>user\nHi<end_of_turn>\n";
  const Ids parsed = *tokenizer_->Encode(kTurn, {.add_special = false, .parse_special = true});
  ASSERT_EQ(parsed.size(), 6u);
  EXPECT_EQ(parsed.front(), 105);
  EXPECT_EQ(parsed[2], 107);
  EXPECT_EQ(parsed[4], 106);
  const Ids plain = *tokenizer_->Encode(kTurn, {.add_special = false});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 105), 0);
  EXPECT_EQ(tokenizer_->Decode(plain), kTurn);
}

TEST_F(DefaultModelTokenizerTest, RandomIdsStreamAsTheyDecode) {
  uint32_t state = 1;
  for (int round = 0; round < 300; ++round) {
    Ids ids(20);
    for (int32_t& id : ids) {
      state = state * 1664525u + 1013904223u;
      // Half of them bytes.
      id = (state >> 31) != 0 ? 238 + static_cast<int32_t>(state >> 8) % 256
                              : static_cast<int32_t>(state >> 8) % 262144;
    }
    ASSERT_EQ(Stream(*tokenizer_, ids), tokenizer_->Decode(ids)) << "round " << round;
  }
}

}  // namespace
}  // namespace longspan
