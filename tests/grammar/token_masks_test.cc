// Masks equal what trying each token by itself says, for every number of tokens left.
#include "runtime/grammar/token_masks.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/grammar/json_schema.h"
#include "tests/grammar/test_vocabularies.h"

namespace longspan {
namespace {

constexpr int64_t kNowhere = std::numeric_limits<int64_t>::max();

// What is left after the token; kNowhere when it cannot be read.
int64_t DistanceAfter(Matcher& matcher, const Matcher::Threads& threads, std::string_view bytes) {
  const Matcher::Mark mark = matcher.mark();
  Matcher::Threads all = threads;
  size_t begin = 0;
  bool ended = false;
  for (const char byte : bytes) {
    const size_t end = all.size();
    ended = matcher.StepByte(static_cast<uint8_t>(byte), begin, end, &all);
    begin = end;
  }
  int64_t distance = ended ? 0 : kNowhere;
  for (size_t i = begin; i < all.size(); ++i) distance = std::min(distance, matcher.Distance(all[i]));
  matcher.Rollback(mark);
  return distance;
}

constexpr const char* kSchemas[] = {
    R"({})",
    R"({"type": "string"})",
    R"({"type": "string", "minLength": 3, "maxLength": 9})",
    R"({"type": "string", "minLength": 12})",
    R"({"type": "array", "items": {"type": "string", "maxLength": 2}, "minItems": 2, "maxItems": 5})",
    R"({"type": "array", "items": {"pattern": "^(ab|the)? .*e$"}})",
    R"({"type": "array", "items": {"pattern": "^.{1,4}$"}})",
    R"({"pattern": "^ .*[^a-z]$"})",
    R"({"pattern": "^.{2}[a-e]{1,3}$"})",
    R"({"type": "array", "items": {"enum": ["a", "ab", "abc", "the", 12, 345, null, true]}})",
    R"({"properties": {"name": {"type": "string"}, "a": {"type": "number"}, "item": {"format": "date-time"}}, "required": ["a"]})",
    R"({"properties": {"a": {}, "ab": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}})",
    R"({"anyOf": [{"properties": {"kind": {"const": "one"}, "value": {"type": "integer"}}, "required": ["kind", "value"]},
                  {"properties": {"kind": {"const": "two"}, "value": {"type": "string"}}, "required": ["kind", "value"]}]})",
    R"({"$defs": {"l": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/l"}}, {"type": "array", "items": {"$ref": "#/$defs/l"},
        "minItems": 2}, {"type": "string"}]}}, "$ref": "#/$defs/l"})",
    R"({"$defs": {"n": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 3, "maximum": 345},
        "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, "required": ["v", "next"]}}, "$ref": "#/$defs/n"})",
};

TEST(TokenMasksTest, EqualTryingEachToken) {
  const auto vocabulary = MixedVocabulary();
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  for (const char* schema : kSchemas) {
    const Automaton automaton = *CompileJsonSchema(nlohmann::ordered_json::parse(schema));
    const TokenMasks masks(automaton, vocabulary);
    for (unsigned seed = 1; seed <= 12; ++seed) {
      std::mt19937 random(seed);
      Matcher matcher(automaton, masks.completions());
      Matcher::Threads threads;
      matcher.Start({automaton.start, Matcher::kOutermost}, &threads);
      std::string text;
      for (int step = 0; step < 40 && !threads.empty(); ++step) {
        std::vector<int64_t> distances(static_cast<size_t>(vocabulary->size()), kNowhere);
        std::vector<int32_t> possible;
        for (int32_t token = 0; token < vocabulary->size(); ++token) {
          if (vocabulary->Bytes(token).empty()) continue;
          int64_t& distance = distances[static_cast<size_t>(token)];
          distance = DistanceAfter(matcher, threads, vocabulary->Bytes(token));
          if (distance != kNowhere) possible.push_back(token);
        }
        ASSERT_FALSE(possible.empty()) << schema << " after " << text;
        for (const int64_t most :
             {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{3}, int64_t{5}, int64_t{8}, int64_t{1000}}) {
          std::fill(allowed.begin(), allowed.end(), 0);
          masks.Allow(&matcher, threads, most, allowed);
          for (int32_t token = 0; token < vocabulary->size(); ++token) {
            ASSERT_EQ(IsAllowed(allowed, token), distances[static_cast<size_t>(token)] <= most)
                << schema << " after " << text << ": token " << vocabulary->Bytes(token) << ", " << most
                << " tokens may be left, seed " << seed;
          }
        }
        // From what takes n > 0 tokens, one leads to n - 1.
        int64_t least = kNowhere;
        for (const Matcher::Thread& thread : threads) least = std::min(least, matcher.Distance(thread));
        if (least > 0) {
          EXPECT_LE(*std::min_element(distances.begin(), distances.end()), least - 1);
        }

        const int32_t token = possible[random() % possible.size()];
        text += vocabulary->Bytes(token);
        for (const char byte : vocabulary->Bytes(token)) {
          const size_t before = threads.size();
          matcher.StepByte(static_cast<uint8_t>(byte), 0, before, &threads);
          threads.erase(threads.begin(), threads.begin() + static_cast<std::ptrdiff_t>(before));
        }
        if (step % 3 == 0) matcher.Compact(&threads);
      }
    }
  }
}

// Near the greatest depth masks that were worked out elsewhere do not hold.
TEST(TokenMasksTest, KeepTheGreatestDepth) {
  const auto vocabulary = MixedVocabulary();
  const Automaton automaton = *CompileJsonSchema(nlohmann::ordered_json::object());
  const TokenMasks masks(automaton, vocabulary);
  Matcher matcher(automaton, masks.completions());
  Matcher::Threads threads;
  matcher.Start({automaton.start, Matcher::kOutermost}, &threads);
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  for (int depth = 0;; ++depth) {
    ASSERT_LT(depth, 300);
    std::fill(allowed.begin(), allowed.end(), 0);
    masks.Allow(&matcher, threads, 1'000'000, allowed);
    for (int32_t token = 0; token < vocabulary->size(); ++token) {
      if (vocabulary->Bytes(token).empty()) continue;
      ASSERT_EQ(IsAllowed(allowed, token),
                DistanceAfter(matcher, threads, vocabulary->Bytes(token)) != kNowhere)
          << "depth " << depth << ", token " << vocabulary->Bytes(token);
    }
    if (!IsAllowed(allowed, '[')) break;
    const size_t before = threads.size();
    matcher.StepByte('[', 0, before, &threads);
    threads.erase(threads.begin(), threads.begin() + static_cast<std::ptrdiff_t>(before));
  }
}

}  // namespace
}  // namespace longspan
