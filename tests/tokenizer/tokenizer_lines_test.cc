// 2,000 lines in many scripts, with emoji, odd spaces, control characters and code. lines/answers.json holds,
// for each tokenizer and line, a hash of the ids that the library defining it gave and of the text they
// became again; tests/tools/make_tokenizer_lines.py says how it was made.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "runtime/tokenizer/huggingface_tokenizer.h"
#include "runtime/tokenizer/split_patterns.h"

namespace longspan {
namespace {

using Json = nlohmann::json;

Json ReadJson(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  return Json::parse(file);
}

const Json& Kept(const std::string& name) {
  static std::map<std::string, Json> files;
  const auto [file, is_new] = files.try_emplace(name);
  if (is_new) file->second = ReadJson(LONGSPAN_TOKENIZER_LINES_DIR "/" + name + ".json");
  return file->second;
}

// FNV-1a of the ids, four bytes each, and of the text, folded to 16 bits.
std::string HashOf(const std::vector<int32_t>& ids, std::string_view text) {
  uint32_t hash = 0x811C9DC5;
  const auto add = [&](uint8_t byte) { hash = (hash ^ byte) * 0x01000193; };
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) add(static_cast<uint8_t>(static_cast<uint32_t>(id) >> shift));
  }
  for (const char byte : text) add(static_cast<uint8_t>(byte));
  return absl::StrFormat("%04x", hash >> 16 ^ (hash & 0xFFFF));
}

void ExpectAnswers(const absl::StatusOr<std::unique_ptr<Tokenizer>>& tokenizer, const std::string& answers) {
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const Json& lines = Kept("lines");
  ASSERT_EQ(lines.size(), 2000u);
  ASSERT_EQ(answers.size(), 4 * lines.size());
  int wrong = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i].get_ref<const std::string&>();
    const auto ids = (*tokenizer)->Encode(line, {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    const std::string text = (*tokenizer)->Decode(*ids);
    if (HashOf(*ids, text) == answers.substr(4 * i, 4)) continue;
    if (++wrong <= 3)
      ADD_FAILURE() << "'" << line << "' gives " << Json(*ids) << " and comes back as '" << text << "'";
  }
  EXPECT_EQ(wrong, 0);
}

class TokenizerOfLinesTest : public ::testing::TestWithParam<std::pair<std::string, std::string>> {
 protected:
  const std::string& kind() const { return GetParam().first; }
  const std::string& name() const { return GetParam().second; }
};

TEST_P(TokenizerOfLinesTest, EqualTheReference) {
  const std::string answers = Kept("answers")[kind()][name()];
  if (kind() == "data") {
    const std::string path = LONGSPAN_TOKENIZER_DATA_DIR "/" + name() + ".json";
    ExpectAnswers(CreateTokenizerFromJson(ReadJson(path)["tokenizer"], Json(), path), answers);
  } else if (kind() == "goldens") {
    ExpectAnswers(CreateHuggingFaceTokenizer(LONGSPAN_GOLDENS_DIR "/" + name()), answers);
  } else if (kind() == "byte_level") {
    const Json& model = Kept("byte_level");
    GgufVocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = name();
    vocabulary.tokens = model["tokens"].get<std::vector<std::string_view>>();
    vocabulary.merges = model["merges"].get<std::vector<std::string_view>>();
    vocabulary.add_bos = false;
    ExpectAnswers(CreateGgufTokenizer(vocabulary), answers);
  } else {
    const Json& model = Kept("sentencepiece")[name()];
    GgufVocabulary vocabulary;
    vocabulary.model = "llama";
    vocabulary.tokens = model["tokens"].get<std::vector<std::string_view>>();
    vocabulary.scores = model["scores"].get<std::vector<double>>();
    vocabulary.types = model["types"].get<std::vector<int64_t>>();
    vocabulary.add_space_prefix = model["add_space_prefix"].get<bool>();
    vocabulary.unknown_id = 0;
    vocabulary.add_bos = false;
    ExpectAnswers(CreateGgufTokenizer(vocabulary), answers);
  }
}

std::vector<std::pair<std::string, std::string>> AllTokenizers() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [kind, answers] : Kept("answers").items()) {
    for (const auto& [name, hashes] : answers.items()) all.emplace_back(kind, name);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerOfLinesTest, ::testing::ValuesIn(AllTokenizers()),
                         [](const auto& info) {
                           std::string name = info.param.first + "_" + info.param.second;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Rules that share their expressions with one that is tested need no answers of their own.
TEST(TokenizerLinesTest, CoverEveryWayOfCutting) {
  const Json& answers = Kept("answers")["byte_level"];
  for (const SplitRule& rule : SplitRules()) {
    const auto same = [&](const SplitRule& other) {
      return answers.contains(other.name) && other.patterns.data() == rule.patterns.data();
    };
    EXPECT_TRUE(std::any_of(SplitRules().begin(), SplitRules().end(), same)) << rule.name;
  }
}

}  // namespace
}  // namespace longspan
