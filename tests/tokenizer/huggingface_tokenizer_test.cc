#include "runtime/tokenizer/huggingface_tokenizer.h"

#include <gtest/gtest.h>

#include <vector>

namespace longspan {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::json;

Json SmallTokenizer() {
  return Json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true, "normalized": false},
                     {"id": 4, "content": "</s>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

Ids Encode(const Json& tokenizer, const Json& config, std::string_view text) {
  const auto created = CreateTokenizerFromJson(tokenizer, config, "tokenizer.json");
  EXPECT_TRUE(created.ok()) << created.status();
  return created.ok() ? *(*created)->Encode(text, {}) : Ids();
}

void ExpectError(const Json& tokenizer, absl::StatusCode code, std::string_view part) {
  const absl::Status status = CreateTokenizerFromJson(tokenizer, Json(), "tokenizer.json").status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status << " lacks " << part;
  EXPECT_NE(std::string(status.message()).find("tokenizer.json"), std::string::npos) << status;
}

TEST(HuggingFaceTokenizerTest, TakesSpecialTokensFromTheConfiguration) {
  const Json config =
      Json::parse(R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": true})");
  const auto tokenizer = CreateTokenizerFromJson(SmallTokenizer(), config, "tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), 3);
  EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{4}));
  EXPECT_EQ((*tokenizer)->vocab_size(), 5);
  EXPECT_TRUE((*tokenizer)->IsSpecial(4));
  // Without a post-processor nothing goes around a text.
  EXPECT_EQ(*(*tokenizer)->Encode("ab", {}), (Ids{2}));
}

TEST(HuggingFaceTokenizerTest, LlamaAndGemmaClassesPutBosAndEosThemselves) {
  Json config =
      Json::parse(R"({"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"})");
  EXPECT_EQ(Encode(SmallTokenizer(), config, "ab"), (Ids{3, 2}));
  config["add_eos_token"] = true;
  config["add_bos_token"] = false;
  EXPECT_EQ(Encode(SmallTokenizer(), config, "ab"), (Ids{2, 4}));
  config["tokenizer_class"] = "GemmaTokenizer";
  EXPECT_EQ(Encode(SmallTokenizer(), config, "ab"), (Ids{2, 4}));
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  EXPECT_EQ(Encode(SmallTokenizer(), config, "ab"), (Ids{2}));
}

TEST(HuggingFaceTokenizerTest, RefusesWhatItDoesNotHaveByName) {
  const struct {
    const char* pointer;
    const char* value;
    const char* named;
  } kCases[] = {
      {"/model/type", R"("Unigram")", "'Unigram'"},
      {"/model/dropout", "0.1", "'dropout'"},
      {"/model/end_of_word_suffix", R"("</w>")", "'end_of_word_suffix'"},
      {"/normalizer", R"({"type": "NFKC"})", "'NFKC'"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Lowercase"}]})", "'Lowercase'"},
      {"/pre_tokenizer", R"({"type": "BertPreTokenizer"})", "'BertPreTokenizer'"},
      {"/pre_tokenizer", R"({"type": "Split", "behavior": "Shuffled", "pattern": {"String": "a"}})",
       "'Shuffled'"},
      {"/pre_tokenizer", R"({"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "("}})", "'('"},
      {"/pre_tokenizer",
       R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})",
       "after ByteLevel 'Digits'"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "prepend_scheme": "last"})", "'last'"},
      {"/post_processor", R"({"type": "BertProcessing"})", "'BertProcessing'"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": []})", "without the text"},
      {"/decoder", R"({"type": "WordPiece"})", "'WordPiece'"},
      {"/decoder", "null", "decoder ''"},
      {"/decoder", R"({"type": "Strip", "content": " ", "start": 1})", "Strip"},
      {"/decoder", R"({"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"})", "Replace"},
      {"/decoder", R"({"type": "Metaspace", "replacement": ""})", "replacement"},
      {"/decoder", R"({"type": "Metaspace", "replacement": "__"})", "replacement '__'"},
      {"/decoder", R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})", "longer text"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})", "replacement '__'"},
  };
  for (const auto& entry : kCases) {
    Json tokenizer = SmallTokenizer();
    tokenizer[Json::json_pointer(entry.pointer)] = Json::parse(entry.value);
    ExpectError(tokenizer, absl::StatusCode::kUnimplemented, entry.named);
  }
}

TEST(HuggingFaceTokenizerTest, RefusesDamagedFiles) {
  const struct {
    const char* pointer;
    const char* value;
    const char* part;
    absl::StatusCode code = absl::StatusCode::kDataLoss;
  } kCases[] = {
      {"/model/vocab", "[]", "model.vocab"},
      {"/model/vocab/a", "-1", "'a'"},
      {"/model/vocab/a", "16777216", "'a'"},
      {"/model/vocab/a", "70000", "the largest token id is 70000, but there are only 5 tokens"},
      {"/model/vocab/a", R"("x")", "'a'"},
      {"/model/merges", R"(["ab"])", "model.merges[0]"},
      {"/model/merges", R"([["a", "b", "c"]])", "model.merges[0]"},
      {"/model/merges", R"([["b", "a"]])", "'b' and 'a'"},
      {"/model/unk_token", R"("<unk>")", "'<unk>'"},
      {"/added_tokens/0/id", "16777216", "added_tokens.id", absl::StatusCode::kInvalidArgument},
      {"/added_tokens/0/lstrip", "1", "added_tokens.lstrip", absl::StatusCode::kInvalidArgument},
      {"/normalizer", R"({"type": "Replace", "pattern": {}, "content": ""})", "'Replace'",
       absl::StatusCode::kInvalidArgument},
      {"/post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
           "special_tokens": {"<s>": {"ids": [5]}}})",
       "token 5"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]})",
       "special_tokens.<s>.ids", absl::StatusCode::kInvalidArgument},
  };
  for (const auto& entry : kCases) {
    Json tokenizer = SmallTokenizer();
    tokenizer[Json::json_pointer(entry.pointer)] = Json::parse(entry.value);
    ExpectError(tokenizer, entry.code, entry.part);
  }
}

TEST(HuggingFaceTokenizerTest, RefusesToLengthenATextWithoutBounds) {
  Json tokenizer = SmallTokenizer();
  const Json twice = Json::parse(R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})");
  tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(40, twice)}};
  const auto created = CreateTokenizerFromJson(tokenizer, Json(), "tokenizer.json");
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ((*created)->Encode("a", {}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(HuggingFaceTokenizerTest, RefusesATemplateOfVeryManyTokens) {
  Json tokenizer = SmallTokenizer();
  const Json one = Json::parse(R"({"SpecialToken": {"id": "<s>"}})");
  tokenizer["post_processor"] = {{"type", "TemplateProcessing"},
                                 {"single", std::vector<Json>(40, one)},
                                 {"special_tokens", {{"<s>", {{"ids", std::vector<int>(40, 3)}}}}}};
  ExpectError(tokenizer, absl::StatusCode::kUnimplemented, "template of many tokens");
}

TEST(HuggingFaceTokenizerTest, AFolderWithoutATokenizerIsNotFound) {
  const absl::Status status = CreateHuggingFaceTokenizer(LONGSPAN_TOKENIZER_DATA_DIR).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("tokenizer.json"), std::string::npos) << status;
}

}  // namespace
}  // namespace longspan
