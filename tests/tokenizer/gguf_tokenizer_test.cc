#include "runtime/tokenizer/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include "tests/tokenizer/test_texts.h"

namespace longspan {
namespace {

using Ids = std::vector<int32_t>;

constexpr EncodeOptions kPlain = {.add_special = false};
constexpr EncodeOptions kParseSpecial = {.add_special = false, .parse_special = true};

// Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
GgufVocabulary SpmVocabulary() {
  GgufVocabulary vocabulary;
  vocabulary.origin = "model.gguf";
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>",
                       "<s>",
                       "</s>",
                       "<0x0A>",
                       "\xE2\x96\x81",
                       "a",
                       "\xE2\x96\x81"
                       "a",
                       "<tool>",
                       "unused"};
  vocabulary.types = {2, 3, 3, 6, 1, 1, 1, 4, 5};
  vocabulary.scores = {0, 0, 0, 0, -9, -9, -1, -1000, 0};
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  vocabulary.unknown_id = 0;
  return vocabulary;
}

GgufVocabulary BytePairVocabulary() {
  GgufVocabulary vocabulary;
  vocabulary.origin = "model.gguf";
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"a",
                       "b",
                       "\xC4\xA0",
                       "\xC4\xA0"
                       "a",
                       "<|end|>",
                       "a b",
                       "ab",
                       "1",
                       "11",
                       "\xC3\x83",
                       "\xC2\xA9"};
  vocabulary.types = {1, 1, 1, 1, 3, 4, 1, 1, 1, 1, 1};
  vocabulary.merges = {"\xC4\xA0 a", "1 1"};
  vocabulary.eos_id = 4;
  return vocabulary;
}

std::unique_ptr<Tokenizer> Make(const GgufVocabulary& vocabulary) {
  auto tokenizer = CreateGgufTokenizer(vocabulary);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

void ExpectError(const GgufVocabulary& vocabulary, absl::StatusCode code, std::string_view part) {
  const absl::Status status = CreateGgufTokenizer(vocabulary).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status << " lacks " << part;
  EXPECT_NE(std::string(status.message()).find("model.gguf"), std::string::npos) << status;
}

TEST(GgufTokenizerTest, SentencePieceByItsDefaults) {
  const auto tokenizer = Make(SpmVocabulary());
  EXPECT_EQ(*tokenizer->Encode("a a", {}), (Ids{1, 6, 6}));
  EXPECT_EQ(*tokenizer->Encode("a\n", kPlain), (Ids{6, 3}));
  EXPECT_EQ(*tokenizer->Encode("", {}), (Ids{1}));
  EXPECT_EQ(*tokenizer->Encode("a<tool>a", kPlain), (Ids{6, 7, 5}));
  // Nothing becomes an unused piece.
  EXPECT_EQ(*tokenizer->Encode("?aunused", kPlain), (Ids{4, 0, 5, 0}));
  EXPECT_EQ(tokenizer->Decode(Ids{1, 6, 6, 3, 8}), "a a\nunused");
  EXPECT_TRUE(tokenizer->strips_leading_space());
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_ids(), (Ids{2}));
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_TRUE(tokenizer->IsSpecial(0) && tokenizer->IsSpecial(1));
  EXPECT_FALSE(tokenizer->IsSpecial(7));
}

TEST(GgufTokenizerTest, SentencePieceFollowsItsFlags) {
  GgufVocabulary vocabulary = SpmVocabulary();
  vocabulary.add_space_prefix = false;
  vocabulary.add_bos = false;
  vocabulary.add_eos = true;
  vocabulary.eot_id = 8;
  vocabulary.eom_id = 2;
  const auto tokenizer = Make(vocabulary);
  EXPECT_EQ(*tokenizer->Encode("a a", {}), (Ids{5, 6, 2}));
  EXPECT_EQ(tokenizer->Decode(Ids{6}), " a");
  EXPECT_EQ(tokenizer->eos_ids(), (Ids{2, 8}));
}

TEST(GgufTokenizerTest, SpecialTokensAreTextUnlessAskedFor) {
  GgufVocabulary vocabulary = SpmVocabulary();
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"<", "s", ">"});
  vocabulary.types.insert(vocabulary.types.end(), {1, 1, 1});
  vocabulary.scores.insert(vocabulary.scores.end(), {-9, -9, -9});
  const auto tokenizer = Make(vocabulary);
  EXPECT_EQ(*tokenizer->Encode("<s>a", kPlain), (Ids{4, 9, 10, 11, 5}));
  EXPECT_EQ(*tokenizer->Encode("<s>a", kParseSpecial), (Ids{1, 6}));
  EXPECT_EQ(*tokenizer->Encode("a</s>", kParseSpecial), (Ids{6, 2}));
}

TEST(GgufTokenizerTest, BytePairs) {
  const auto tokenizer = Make(BytePairVocabulary());
  EXPECT_EQ(*tokenizer->Encode("ab a111", {}), (Ids{0, 1, 3, 8, 7}));
  EXPECT_EQ(*tokenizer->Encode("a bb", {}), (Ids{5, 1}));
  EXPECT_EQ(*tokenizer->Encode("a<|end|>", kParseSpecial), (Ids{0, 4}));
  EXPECT_EQ(*tokenizer->Encode("\xC3\xA9", {}), (Ids{9, 10}));
  EXPECT_EQ(tokenizer->Decode(Ids{3, 5, 4, 9, 10}), " aa b\xC3\xA9");
  EXPECT_FALSE(tokenizer->strips_leading_space());
}

TEST(GgufTokenizerTest, BytePairRulesDifferByName) {
  GgufVocabulary vocabulary = BytePairVocabulary();
  vocabulary.pre = "qwen2";
  EXPECT_EQ(*Make(vocabulary)->Encode("ab11", {}), (Ids{0, 1, 7, 7}));
  EXPECT_EQ(*Make(vocabulary)->Encode("e\xCC\x81", {}), (Ids{9, 10}));  // composed first
  vocabulary.pre = "llama-bpe";
  vocabulary.bos_id = 4;
  EXPECT_EQ(*Make(vocabulary)->Encode("ab11", {}), (Ids{4, 6, 8}));
  vocabulary.add_bos = false;
  EXPECT_EQ(*Make(vocabulary)->Encode("ab11", {}), (Ids{6, 8}));
}

TEST(GgufTokenizerTest, RefusesOtherKindsByName) {
  GgufVocabulary vocabulary = BytePairVocabulary();
  vocabulary.pre = "of no model";
  ExpectError(vocabulary, absl::StatusCode::kUnimplemented, "'of no model'");
  vocabulary.model = "bert";
  ExpectError(vocabulary, absl::StatusCode::kUnimplemented, "'bert'");
  vocabulary = SpmVocabulary();
  vocabulary.remove_extra_whitespaces = true;
  ExpectError(vocabulary, absl::StatusCode::kUnimplemented, "remove_extra_whitespaces");
  vocabulary.has_character_map = true;
  ExpectError(vocabulary, absl::StatusCode::kUnimplemented, "precompiled_charsmap");
}

TEST(GgufTokenizerTest, RefusesDamagedMetadata) {
  constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
  GgufVocabulary vocabulary = SpmVocabulary();
  vocabulary.scores.pop_back();
  ExpectError(vocabulary, kDataLoss, "scores has 8 values for 9 tokens");
  vocabulary = SpmVocabulary();
  vocabulary.types.push_back(1);
  ExpectError(vocabulary, kDataLoss, "token_type has 10 values for 9 tokens");
  vocabulary = SpmVocabulary();
  vocabulary.bos_id = 9;
  ExpectError(vocabulary, kDataLoss, "bos_token_id is 9");
  vocabulary.bos_id = -1;
  ExpectError(vocabulary, kDataLoss, "bos_token_id is -1");
  vocabulary.bos_id.reset();
  ExpectError(vocabulary, kDataLoss, "bos_token_id is missing");
  vocabulary = SpmVocabulary();
  vocabulary.types[4] = 6;
  ExpectError(vocabulary, kDataLoss, "token 4 is a byte");
  vocabulary = SpmVocabulary();
  vocabulary.tokens.clear();
  ExpectError(vocabulary, kDataLoss, "tokens is empty");
  vocabulary = BytePairVocabulary();
  vocabulary.merges = {"ab"};
  ExpectError(vocabulary, kDataLoss, "'ab'");
  vocabulary.merges = {"a b", "b b"};
  ExpectError(vocabulary, kDataLoss, "'b' and 'b'");
}

TEST(GgufTokenizerTest, RefusesTextThatIsNotUtf8) {
  const auto ids = Make(SpmVocabulary())->Encode("a\xFF", {});
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(ids.status().message()).find("byte 1"), std::string::npos) << ids.status();
}

}  // namespace
}  // namespace longspan
