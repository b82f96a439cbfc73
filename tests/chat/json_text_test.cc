#include "runtime/chat/json_text.h"

#include <gtest/gtest.h>

#include <string>

#include <nlohmann/json.hpp>

namespace longspan {
namespace {

using nlohmann::ordered_json;

std::string Outcome(const std::string& text) {
  const absl::StatusOr<ordered_json> json = ParseJsonText(text);
  return json.ok() ? json->dump() : std::string(json.status().message());
}

TEST(JsonText, EqualsTheLibrarysParser) {
  for (const char* text :
       {"null", " true ", "-1", "18446744073709551615", "1e3", "1.5", "\"a\\u0142\\n\"", "[]", "{}",
        "[[],{},[{\"a\":[1,[2]]}]]", "{\"b\":1,\"a\":{\"c\":null,\"b\":[]},\"\":\"\"}"}) {
    EXPECT_EQ(Outcome(text), ordered_json::parse(text).dump());
  }
}

TEST(JsonText, OfMembersWithTheSameNameTheLastCounts) {
  EXPECT_EQ(Outcome(R"({"a":[1],"b":2,"a":{"c":3}})"), R"({"a":{"c":3},"b":2})");
  std::string text = "{", expected = "{";
  for (int i = 0; i < 100; ++i) {
    const std::string name = "\"k" + std::to_string(i) + "\":";
    text += name + "[0]," + name + std::to_string(i) + ",";
    expected += (i == 0 ? "" : ",") + name + (i == 3 ? "{\"x\":1}" : std::to_string(i));
  }
  EXPECT_EQ(Outcome(text + "\"k3\":{\"x\":1}}"), expected + "}");
}

// With as many members a look through all of them for each would take minutes.
TEST(JsonText, ManyMembersAndManyValues) {
  constexpr int kMembers = 50000;
  std::string text = "{";
  for (int i = 0; i < kMembers; ++i) text += "\"member" + std::to_string(i) + "\":0,";
  const absl::StatusOr<ordered_json> json = ParseJsonText(text + "\"last\":1}");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->size(), kMembers + 1u);

  std::string list = "[0";
  for (int64_t i = 1; i < kMostJsonValues; ++i) list += ",0";
  EXPECT_EQ(Outcome(list + "]"), "has more than 2097152 values; send less at once");
}

TEST(JsonText, Nesting) {
  const auto nested = [](size_t depth) { return Outcome(std::string(depth, '[') + std::string(depth, ']')); };
  EXPECT_EQ(nested(64), std::string(64, '[') + std::string(64, ']'));
  EXPECT_EQ(nested(65), "has objects or lists nested more than 64 deep");
  EXPECT_EQ(Outcome(std::string(1 << 20, '{')), "is not valid JSON: line 1, column 2");
  EXPECT_EQ(Outcome(std::string(1 << 20, '[')), "has objects or lists nested more than 64 deep");
}

TEST(JsonText, ErrorsTellThePlace) {
  EXPECT_EQ(Outcome(""), "is not valid JSON: line 1, column 1");
  EXPECT_EQ(Outcome("[1,\n 2,]"), "is not valid JSON: line 2, column 4");
  EXPECT_EQ(Outcome("{\"a\" 1}"), "is not valid JSON: line 1, column 6");
  EXPECT_EQ(Outcome("[1] 2"), "is not valid JSON: line 1, column 5");
  EXPECT_EQ(Outcome("[1e999]"), "is not valid JSON: line 1, column 6");
  EXPECT_EQ(Outcome("[\n\"\xC5\"]"), "is not UTF-8: line 2, column 2");
}

}  // namespace
}  // namespace longspan
