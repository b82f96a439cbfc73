#include "runtime/grammar/grammar.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/grammar/test_vocabularies.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

Grammar::Shared Schema(const char* text) { return *Grammar::FromJsonSchema(Json::parse(text)); }

std::vector<uint64_t> Allowed(TokenConstraint& constraint, const TokenVocabulary& vocabulary,
                              int64_t tokens_left) {
  std::vector<uint64_t> allowed(vocabulary.mask_words(), ~uint64_t{0});
  constraint.Allowed(tokens_left, allowed);
  return allowed;
}

int32_t Token(const TokenVocabulary& vocabulary, const std::string& bytes) {
  for (int32_t id = 259; id < vocabulary.size(); ++id) {
    if (vocabulary.Bytes(id) == bytes) return id;
  }
  return static_cast<int32_t>(static_cast<uint8_t>(bytes[0]));
}

TEST(TokenVocabularyTest, TrieHasEveryTokenOnce) {
  const auto vocabulary = MixedVocabulary();
  std::vector<int> seen(static_cast<size_t>(vocabulary->size()), 0);
  std::string spelled;
  const auto visit = [&](auto&& self, TokenVocabulary::Node node) -> void {
    for (const int32_t token : vocabulary->tokens(node)) {
      EXPECT_EQ(vocabulary->Bytes(token), spelled);
      ++seen[static_cast<size_t>(token)];
    }
    for (TokenVocabulary::Node child = node + 1; child < vocabulary->subtree_end(node);
         child = vocabulary->subtree_end(child)) {
      EXPECT_EQ(vocabulary->Child(node, vocabulary->byte(child)), child);
      spelled.push_back(static_cast<char>(vocabulary->byte(child)));
      self(self, child);
      spelled.pop_back();
    }
  };
  visit(visit, TokenVocabulary::kRoot);
  for (int32_t id = 0; id < vocabulary->size(); ++id) {
    EXPECT_EQ(seen[static_cast<size_t>(id)], id >= 256 && id <= 258 ? 0 : 1) << id;
  }
  size_t plain = 0;
  for (size_t length = 1; length <= vocabulary->longest_plain(); ++length) {
    plain += vocabulary->plain_tokens_of_length(length).size();
  }
  EXPECT_EQ(plain, vocabulary->plain_tokens(TokenVocabulary::kRoot).size());
  const auto three = vocabulary->plain_tokens_of_length(3);
  EXPECT_NE(std::find(three.begin(), three.end(), Token(*vocabulary, "abc")), three.end());
  const auto four = vocabulary->plain_tokens_of_length(4);
  EXPECT_NE(std::find(four.begin(), four.end(), Token(*vocabulary, "caf\xC3\xA9")), four.end());
}

TEST(GrammarTest, ATextEndsWhereItMay) {
  const auto vocabulary = MixedVocabulary();
  const auto constraint = NewConstraint(Schema(R"({"type": "integer"})"), vocabulary);
  auto allowed = Allowed(*constraint, *vocabulary, 100);
  EXPECT_FALSE(IsAllowed(allowed, 256));
  constraint->Accept('7');
  allowed = Allowed(*constraint, *vocabulary, 100);
  EXPECT_TRUE(IsAllowed(allowed, 256) && IsAllowed(allowed, 257) && IsAllowed(allowed, '0'));
  EXPECT_TRUE(IsAllowed(allowed, Token(*vocabulary, "12")));
  EXPECT_FALSE(IsAllowed(allowed, Token(*vocabulary, "1,")));
  allowed = Allowed(*constraint, *vocabulary, 1);
  EXPECT_TRUE(IsAllowed(allowed, 256));
  EXPECT_FALSE(IsAllowed(allowed, '0'));
  constraint->Accept(257);
}

TEST(GrammarTest, LeastTokensCountsTokensAndTheEnd) {
  const auto vocabulary = MixedVocabulary();
  EXPECT_EQ(Schema(R"({"const": true})")->LeastTokens(vocabulary), 2);
  EXPECT_EQ(Schema(R"({"const": "name"})")->LeastTokens(vocabulary), 4);
  // {"  name  ":  true  }  and the end; the literal parts of an object join.
  EXPECT_EQ(
      Schema(R"({"properties": {"name": {"const": true}}, "required": ["name"]})")->LeastTokens(vocabulary),
      6);
  EXPECT_EQ(Schema(R"({"type": "string", "minLength": 8})")->LeastTokens(vocabulary),
            5);  // " 4 4 " and the end
  EXPECT_EQ(Grammar::JsonObject()->LeastTokens(vocabulary), 2);
  // A vocabulary that lacks a byte.
  const auto digits = std::make_shared<const TokenVocabulary>(std::vector<std::string>{"0", "1", "2", ""},
                                                              absl::flat_hash_map<std::string, int32_t>(),
                                                              std::vector<int32_t>{3});
  EXPECT_EQ(Schema(R"({"type": "integer"})")->LeastTokens(digits), 2);
  EXPECT_GT(Schema(R"({"type": "string"})")->LeastTokens(digits), 1 << 29);
  EXPECT_EQ(
      Schema(R"({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 10}]})")->LeastTokens(digits), 3);
}

TEST(GrammarTest, ConcatenationAndAlternation) {
  const auto vocabulary = MixedVocabulary();
  const auto call = [](const std::string& name, const char* schema) {
    return *Grammar::Concatenation({Grammar::SpecialToken("<tool_call>"),
                                    Grammar::Literal("\n{\"name\": \"" + name + "\", \"arguments\": "),
                                    Schema(schema), Grammar::Literal("}\n</tool_call>")});
  };
  const auto grammar =
      *Grammar::AnyOf({call("f", R"({"properties": {"a": {"type": "integer"}}, "required": ["a"]})"),
                       call("g", R"({"type": "object"})")});
  const std::string f = "\n{\"name\": \"f\", \"arguments\": {\"a\": 5}}\n</tool_call>";
  const std::string g = "\n{\"name\": \"g\", \"arguments\": {\"x\":[1]}}\n</tool_call>";
  const auto accepts = [&](std::vector<int32_t> tokens, const std::string& text) {
    for (const char c : text) tokens.push_back(static_cast<uint8_t>(c));
    const auto constraint = NewConstraint(grammar, vocabulary);
    for (const int32_t token : tokens) {
      if (!IsAllowed(Allowed(*constraint, *vocabulary, 1000), token)) return false;
      constraint->Accept(token);
    }
    return IsAllowed(Allowed(*constraint, *vocabulary, 1000), 256);
  };
  EXPECT_TRUE(accepts({258}, f));
  EXPECT_TRUE(accepts({258}, g));
  EXPECT_TRUE(accepts({}, "<tool_call>" + f));
  EXPECT_FALSE(accepts({}, f));
  EXPECT_FALSE(accepts({258, 258}, f));
  EXPECT_FALSE(accepts({258}, "\n{\"name\": \"f\", \"arguments\": {\"x\":[1]}}\n</tool_call>"));
  // The special token has to leave enough as well.
  const auto constraint = NewConstraint(grammar, vocabulary);
  const int64_t least = grammar->LeastTokens(vocabulary);
  EXPECT_TRUE(IsAllowed(Allowed(*constraint, *vocabulary, least), 258));
}

TEST(GrammarTest, TooFewTokensLeftTakesTheShortestWay) {
  const auto vocabulary = MixedVocabulary();
  const auto grammar = Schema(R"({"type": "array", "items": {"type": "integer"}})");
  const auto constraint = NewConstraint(grammar, vocabulary);
  std::string text;
  for (int i = 0; i < 10; ++i) {
    const auto allowed = Allowed(*constraint, *vocabulary, 1);
    int32_t token = 0;
    while (!IsAllowed(allowed, token)) ++token;
    if (token == 256) break;
    constraint->Accept(token);
    text += vocabulary->Bytes(token);
  }
  EXPECT_EQ(text, "[]");
}

TEST(GrammarTest, ManyStepsForgetWhatIsOver) {
  // Arrays of arrays open and close many frames.
  const auto vocabulary = MixedVocabulary();
  const auto constraint = NewConstraint(*Grammar::FromJsonSchema(Json::object()), vocabulary);
  constraint->Accept('[');
  for (int i = 0; i < 5000; ++i) {
    for (const char c : std::string("[[1],\"a\"],")) {
      ASSERT_TRUE(i % 100 != 0 || IsAllowed(Allowed(*constraint, *vocabulary, 100), c)) << i;
      constraint->Accept(c);
    }
  }
  for (const char c : std::string("[]]")) constraint->Accept(c);
  EXPECT_TRUE(IsAllowed(Allowed(*constraint, *vocabulary, 100), 256));
}

}  // namespace
}  // namespace longspan
