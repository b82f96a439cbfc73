// Grammars against the default model's vocabulary of 262,144 tokens. Needs the model file, whose path is in
// the environment variable LONGSPAN_TEST_MODEL.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/grammar/grammar.h"
#include "runtime/model/model_files.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/grammar/schema_validator.h"
#include "tests/grammar/test_vocabularies.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchemas[] = {
    R"({"type": "object", "properties": {"title": {"type": "string"}, "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3}}, "required": ["title", "year", "tags"],
        "additionalProperties": false})",
    R"({})",
    R"({"type": "array", "items": {"anyOf": [{"type": "string", "minLength": 20}, {"type": "number"}, {"const": "last"}]}, "minItems": 2})",
    R"({"type": "object", "properties": {"id": {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}}, "additionalProperties": {"type": "string"}})",
};

TEST(DefaultModelGrammarTest, MasksAndEndingsHoldForItsTokens) {
  const char* path = std::getenv("LONGSPAN_TEST_MODEL");
  ASSERT_NE(path, nullptr) << "set LONGSPAN_TEST_MODEL to the default model's file";
  const auto files = ModelFiles::Open(path);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tokenizer = Tokenizer::Create(*files);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::vector<int32_t> eos = (*tokenizer)->eos_ids();
  const auto created = TokenVocabulary::Create(**tokenizer, (*tokenizer)->vocab_size(), eos);
  ASSERT_TRUE(created.ok()) << created.status();
  const auto& vocabulary = *created;
  const auto bytes = ByteVocabulary();
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  std::vector<uint64_t> allowed_bytes(bytes->mask_words());
  for (const char* text : kSchemas) {
    const Json schema = Json::parse(text);
    const auto grammar = *Grammar::FromJsonSchema(schema);
    const int64_t least = grammar->LeastTokens(vocabulary);
    EXPECT_LT(least, 30) << text;
    for (unsigned seed = 1; seed <= 25; ++seed) {
      std::mt19937 random(seed);
      const auto constraint = NewConstraint(grammar, vocabulary);
      const auto by_byte = NewConstraint(grammar, bytes);  // what each token is tried against
      std::string answer;
      bool ended = false;
      for (int64_t left = least + 4 * static_cast<int64_t>(seed - 1); !ended; --left) {
        ASSERT_GT(left, 0) << text << "\n" << answer;
        constraint->Allowed(left, allowed);
        std::vector<int32_t> tokens;
        for (size_t word = 0; word < allowed.size(); ++word) {
          for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
            tokens.push_back(static_cast<int32_t>(word * 64) + std::countr_zero(bits));
          }
        }
        ASSERT_FALSE(tokens.empty()) << text << "\n" << answer;
        // Half of the time one that is rare in a random choice: the end, or one of the shortest.
        int32_t token = tokens[random() % tokens.size()];
        if (random() % 2 == 0) token = *std::min_element(tokens.begin(), tokens.end());
        constraint->Accept(token);
        ended = vocabulary->IsEnd(token);
        if (ended) break;
        for (const char c : vocabulary->Bytes(token)) {
          const auto byte = static_cast<int32_t>(static_cast<uint8_t>(c));
          by_byte->Allowed(1'000'000, allowed_bytes);
          ASSERT_TRUE(IsAllowed(allowed_bytes, byte)) << text << "\n"
                                                      << answer << "\n"
                                                      << vocabulary->Bytes(token);
          by_byte->Accept(byte);
        }
        answer += vocabulary->Bytes(token);
      }
      const Json value = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
      ASSERT_FALSE(value.is_discarded()) << text << "\n" << answer;
      ASSERT_TRUE(FollowsSchema(value, schema, schema)) << text << "\n" << answer;
    }
  }
}

// The tokenizer's own way of writing a text is among those that are allowed.
TEST(DefaultModelGrammarTest, WhatTheTokenizerWritesIsAllowed) {
  const char* path = std::getenv("LONGSPAN_TEST_MODEL");
  ASSERT_NE(path, nullptr) << "set LONGSPAN_TEST_MODEL to the default model's file";
  const auto files = ModelFiles::Open(path);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tokenizer = *Tokenizer::Create(*files);
  const auto vocabulary = *TokenVocabulary::Create(*tokenizer, tokenizer->vocab_size(), tokenizer->eos_ids());
  const auto grammar = *Grammar::FromJsonSchema(Json::parse(kSchemas[0]));
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  for (
      const char* text :
      {R"({"title": "The old man and the sea \u2013 \"a novel\"", "year": 1952, "tags": ["fish", "age", "pride"]})",
       "{\"title\":\"caf\xC3\xA9 \xE6\x9D\xB1\xE4\xBA\xAC \xF0\x9F\x90\x9F\",\"year\":2001,\"tags\":[]}"}) {
    const std::vector<int32_t> tokens = *tokenizer->Encode(text, {.add_special = false});
    const auto constraint = NewConstraint(grammar, vocabulary);
    for (size_t i = 0; i < tokens.size(); ++i) {
      constraint->Allowed(1000, allowed);
      ASSERT_TRUE(IsAllowed(allowed, tokens[i]))
          << text << ", token " << i << ": " << vocabulary->Bytes(tokens[i]);
      constraint->Accept(tokens[i]);
    }
    constraint->Allowed(1000, allowed);
    EXPECT_TRUE(IsAllowed(allowed, vocabulary->end_ids()[0]));
    EXPECT_LE(grammar->LeastTokens(vocabulary), static_cast<int64_t>(tokens.size()) + 1);
  }
}

}  // namespace
}  // namespace longspan
