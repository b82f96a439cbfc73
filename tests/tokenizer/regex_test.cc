#include "runtime/tokenizer/regex.h"

#include <gtest/gtest.h>

#include <thread>

#include "runtime/tokenizer/split_patterns.h"

namespace longspan {
namespace {

std::vector<std::string> Matches(const Regex& regex, const std::string& text) {
  std::vector<TextRange> ranges;
  EXPECT_TRUE(regex.FindAll(text, &ranges).ok());
  std::vector<std::string> matches;
  for (const TextRange& range : ranges) matches.push_back(text.substr(range.begin, range.end - range.begin));
  return matches;
}

using Texts = std::vector<std::string>;

TEST(RegexTest, KnowsUnicodeProperties) {
  const auto regex = Regex::Compile(R"(\p{L}+|\p{N})");
  ASSERT_TRUE(regex.ok()) << regex.status();
  EXPECT_EQ(Matches(**regex, "Zwölf 文脈 ½٣!"), (Texts{"Zwölf", "文脈", "½", "٣"}));
}

TEST(RegexTest, TakesEmptyMatchesWithoutStopping) {
  const auto regex = Regex::Compile("x*");
  ASSERT_TRUE(regex.ok()) << regex.status();
  EXPECT_EQ(Matches(**regex, "éxx"), (Texts{"", "xx", ""}));
}

TEST(RegexTest, MatchesLiteralsAsTheyAre) {
  const auto regex = Regex::CompileLiteral(".▁(");
  ASSERT_TRUE(regex.ok()) << regex.status();
  EXPECT_EQ(Matches(**regex, "a.▁(.▁(b▁("), (Texts{".▁(", ".▁("}));
}

TEST(RegexTest, RefusesWhatItWouldReadDifferently) {
  for (const char* pattern : {"(a", "[a-z&&[^b]]", R"(\p{Nonsense})"}) {
    const auto regex = Regex::Compile(pattern);
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kUnimplemented) << pattern;
    EXPECT_NE(regex.status().message().find(pattern), absl::string_view::npos);
  }
}

// A run of one kind of character is one match, however long: neither the stack nor time runs out.
TEST(RegexTest, TakesVeryLongRuns) {
  constexpr size_t kLength = 1 << 20;
  for (const SplitRule& rule : SplitRules()) {
    for (const std::string_view pattern : rule.patterns) {
      const auto regex = Regex::Compile(pattern);
      ASSERT_TRUE(regex.ok()) << regex.status();
      for (const char byte : {'a', ' ', '\n', '.'}) {
        std::vector<TextRange> ranges;
        EXPECT_TRUE((*regex)->FindAll(std::string(kLength, byte), &ranges).ok())
            << rule.name << " " << int{byte};
      }
    }
  }
}

TEST(RegexTest, GivesUpWithAnErrorThatNamesTheExpression) {
  const auto regex = Regex::Compile("(a+)+$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::vector<TextRange> ranges;
  const absl::Status status = (*regex)->FindAll(std::string(200, 'a') + "b", &ranges);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("(a+)+$"), absl::string_view::npos);
}

TEST(RegexTest, ServesSeveralThreads) {
  const auto regex = Regex::Compile(kGpt2Pattern);
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "some words, 123 ";
  const size_t expected = Matches(**regex, text).size();
  std::vector<size_t> counts(4);
  std::vector<std::thread> threads;
  for (size_t& count : counts) {
    threads.emplace_back([&, out = &count] { *out = Matches(**regex, text).size(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counts, std::vector<size_t>(4, expected));
}

}  // namespace
}  // namespace longspan
