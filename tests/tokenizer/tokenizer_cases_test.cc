// Texts with the ids and the decoded text that Hugging Face's tokenizers gave: the goldens' vocabularies, and
// in data/ one small vocabulary for each way in which published tokenizers are put together.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/model/model_source.h"
#include "runtime/tokenizer/huggingface_tokenizer.h"
#include "tests/tokenizer/test_texts.h"

namespace longspan {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

std::vector<std::string> GoldenFolders() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(LONGSPAN_GOLDENS_DIR)) {
    if (std::filesystem::exists(entry.path() / "tokenizer_cases.json"))
      names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> DataFiles() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(LONGSPAN_TOKENIZER_DATA_DIR)) {
    if (entry.path().filename() != "default-model.json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string TestName(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Json ReadJson(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  return Json::parse(file);
}

void ExpectCases(const Tokenizer& tokenizer, const Json& cases) {
  ASSERT_FALSE(cases.empty());
  for (const Json& entry : cases) {
    const std::string text = entry["text"];
    const Ids expected = entry["ids"];
    const auto ids = tokenizer.Encode(text, {.parse_special = entry.value("parse_special", false)});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, expected) << "'" << text << "'";
    EXPECT_EQ(tokenizer.Decode(expected), entry["decoded"].get<std::string>()) << "'" << text << "'";
    EXPECT_EQ(Stream(tokenizer, expected), tokenizer.Decode(expected)) << "'" << text << "'";
  }
}

void ExpectStreamsRandomIds(const Tokenizer& tokenizer) {
  constexpr uint32_t kSeed = 5;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    Ids ids(random() % 30);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % tokenizer.vocab_size());
    ASSERT_EQ(Stream(tokenizer, ids), tokenizer.Decode(ids)) << "seed " << kSeed << ", round " << round;
  }
}

class GoldenTokenizerTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTokenizerTest, GivesTheReferencesIdsAndText) {
  const std::string folder = std::string(LONGSPAN_GOLDENS_DIR) + "/" + GetParam();
  const auto tokenizer = CreateHuggingFaceTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectCases(**tokenizer, ReadJson(folder + "/tokenizer_cases.json"));
  ExpectStreamsRandomIds(**tokenizer);
  EXPECT_EQ((*tokenizer)->vocab_size(), 320);
  EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{2}));
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
}

INSTANTIATE_TEST_SUITE_P(Goldens, GoldenTokenizerTest, ::testing::ValuesIn(GoldenFolders()), TestName);

class TokenizerJsonTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerJsonTest, GivesTheReferencesIdsAndText) {
  const std::string path = std::string(LONGSPAN_TOKENIZER_DATA_DIR) + "/" + GetParam() + ".json";
  const Json data = ReadJson(path);
  const auto tokenizer = CreateTokenizerFromJson(data["tokenizer"], Json(), path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectCases(**tokenizer, data["cases"]);
  ExpectStreamsRandomIds(**tokenizer);
}

INSTANTIATE_TEST_SUITE_P(Data, TokenizerJsonTest, ::testing::ValuesIn(DataFiles()), TestName);

// A GGUF file and a folder with the same byte-level vocabulary.
TEST(TokenizerCreateTest, TakesTheModelsOwnFiles) {
  const std::string goldens = LONGSPAN_GOLDENS_DIR;
  for (const char* model : {"/gguf-llama/q8_0.gguf", "/llama3-gqa"}) {
    const auto source = ModelSource::Open(goldens + model);
    ASSERT_TRUE(source.ok()) << source.status();
    const auto tokenizer = Tokenizer::Create(**source);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectCases(**tokenizer, ReadJson(goldens + "/llama3-gqa/tokenizer_cases.json"));
    EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{2}));
    EXPECT_EQ((*tokenizer)->vocab_size(), (*source)->config().vocab_size);
  }
}

}  // namespace
}  // namespace longspan
