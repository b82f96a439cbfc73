// Whatever a model likes and however few tokens it has, its answer follows the schema.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/grammar/grammar.h"
#include "tests/grammar/schema_validator.h"
#include "tests/grammar/test_vocabularies.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

class RandomSchema {
 public:
  explicit RandomSchema(unsigned seed) : random_(seed) {}

  Json Make() {
    Json root = Schema(3);
    if (root.is_boolean()) root = Json::object();
    root["$defs"]["tree"] =
        Json::parse(R"({"type": "object", "properties": {"value": {"type": "integer", "minimum": -3,
        "maximum": 40}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["value", "children"],
        "additionalProperties": false})");
    root["$defs"]["list"] =
        Json::parse(R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/list"},
        "maxItems": 2}, {"$ref": "#/$defs/tree"}]})");
    return root;
  }

 private:
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }
  bool OneIn(int64_t n) { return Below(n) == 0; }

  Json Schema(int depth) {
    switch (Below(depth > 0 ? 14 : 9)) {
      case 0:
        return String();
      case 1:
        return Number();
      case 2:
        return {{"type", OneIn(2) ? "boolean" : "null"}};
      case 3:
        return {{"enum", {"name", "a", "caf\xC3\xA9 \"x\"", 12, 1.5, nullptr, Json{{"a", {1}}}}}};
      case 4:
        return {{"const", OneIn(2) ? Json("abcd") : Json(-345)}};
      case 5:
        return {{"$ref", OneIn(2) ? "#/$defs/tree" : "#/$defs/list"}};
      case 6:
        return {{"type", {"string", "integer", "null"}}, {"maxLength", 4}, {"maximum", 99}};
      case 7:
        return OneIn(3) ? Json(true) : String();
      case 8:
        return Number();
      case 9:
      case 10:
        return Array(depth);
      case 11:
        return {{"anyOf", {Schema(depth - 1), Schema(depth - 1), Schema(depth - 1)}}};
      default:
        return Object(depth);
    }
  }

  Json String() {
    Json schema{{"type", "string"}};
    if (OneIn(4)) {
      constexpr const char* kPatterns[] = {"^[a-c]{2,5}$", "^(name|item)( the)*$", "^\\d{3}-\\w+$",
                                           "^[^a]{1,3}$", "ab"};
      schema["pattern"] = kPatterns[Below(5)];
      return schema;
    }
    const int64_t least = Below(4);
    if (OneIn(2)) schema["minLength"] = least;
    if (OneIn(2)) schema["maxLength"] = least + Below(6);
    return schema;
  }

  Json Number() {
    Json schema{{"type", OneIn(2) ? "integer" : "number"}};
    const int64_t least = Below(300) - 150;
    if (OneIn(2))
      schema[OneIn(2) ? "minimum" : "exclusiveMinimum"] =
          static_cast<double>(least) + 0.25 * static_cast<double>(Below(4));
    if (OneIn(2)) schema[OneIn(2) ? "maximum" : "exclusiveMaximum"] = least + 2 + Below(200);
    if (schema["type"] == "integer" && schema.size() == 1 && OneIn(2)) schema["multipleOf"] = 1 + Below(30);
    return schema;
  }

  Json Array(int depth) {
    Json schema{{"type", "array"}, {"items", Schema(depth - 1)}};
    const int64_t least = Below(4);
    if (OneIn(2)) schema["minItems"] = least;
    if (OneIn(2)) schema["maxItems"] = least + Below(3);
    if (OneIn(4)) schema["prefixItems"] = {Schema(depth - 1), Schema(0)};
    return schema;
  }

  Json Object(int depth) {
    Json schema{{"type", "object"}, {"properties", Json::object()}};
    Json required = Json::array();
    constexpr const char* kNames[] = {"a", "b", "ab", "name", "value", "kind", "it\"em", "caf\xC3\xA9"};
    for (const char* name : kNames) {
      if (!OneIn(3)) continue;
      schema["properties"][name] = Schema(depth - 1);
      if (OneIn(2)) required.push_back(name);
    }
    if (OneIn(2)) schema["required"] = required;
    if (OneIn(2)) schema["additionalProperties"] = OneIn(2) ? Json(false) : Schema(depth - 1);
    return schema;
  }

  std::mt19937_64 random_;
};

// Likes some tokens more than others, and changes its mind.
class RandomModel {
 public:
  explicit RandomModel(unsigned seed) : random_(seed), breadth_(1 + random_() % 40) {}

  int32_t Choose(const std::vector<uint64_t>& allowed, int64_t vocab_size) {
    std::vector<int32_t> tokens;
    for (int32_t token = 0; token < vocab_size; ++token) {
      if (IsAllowed(allowed, token)) tokens.push_back(token);
    }
    if (tokens.empty()) return -1;
    // The later ones are those of several bytes.
    const size_t first = random_() % 3 == 0 || tokens.size() <= breadth_ ? 0 : tokens.size() - breadth_;
    return tokens[first + random_() % (tokens.size() - first)];
  }

 private:
  std::mt19937_64 random_;
  const size_t breadth_;
};

TEST(ConstraintPropertyTest, EveryAnswerFollowsItsSchemaWithinItsTokens) {
  const auto vocabulary = MixedVocabulary();
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  int answers = 0;
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const Json schema = RandomSchema(seed).Make();
    const auto grammar = Grammar::FromJsonSchema(schema);
    if (!grammar.ok()) {  // of such parts only this can come
      EXPECT_EQ(grammar.status().message(), "schema: no text satisfies it")
          << "seed " << seed << ": " << schema;
      continue;
    }
    const int64_t least = (*grammar)->LeastTokens(vocabulary);
    ASSERT_LT(least, 10'000);
    for (unsigned run = 0; run < 12; ++run) {
      RandomModel model(seed * 100 + run);
      const int64_t budget = run < 4 ? least : least + static_cast<int64_t>(run * run);
      const auto constraint = NewConstraint(*grammar, vocabulary);
      std::string text;
      int64_t left = budget;
      for (int32_t token = -1; token != 256 && token != 257; --left) {
        ASSERT_GT(left, 0) << "no end, seed " << seed << " run " << run << ": " << schema << "\n" << text;
        constraint->Allowed(left, allowed);
        token = model.Choose(allowed, vocabulary->size());
        ASSERT_GE(token, 0) << "no token, seed " << seed << " run " << run << ": " << schema << "\n" << text;
        constraint->Accept(token);
        if (token != 256 && token != 257) text += vocabulary->Bytes(token);
      }
      const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      ASSERT_FALSE(value.is_discarded()) << "seed " << seed << " run " << run << ": " << schema << "\n"
                                         << text;
      ASSERT_TRUE(FollowsSchema(value, schema, schema))
          << "seed " << seed << " run " << run << ": " << schema << "\n"
          << text;
      ++answers;
    }
  }
  EXPECT_GT(answers, 3000);
}

}  // namespace
}  // namespace longspan
