#include "launcher/load/sse_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longspan::load {
namespace {

using Events = std::vector<std::string>;

// Feeds the pieces that lie between the cuts.
Events Parse(std::string_view text, const std::vector<size_t>& cuts) {
  SseParser parser;
  Events events;
  size_t begin = 0;
  const auto feed = [&](size_t end) {
    EXPECT_TRUE(parser.Feed(text.substr(begin, end - begin),
                            [&events](std::string_view data) { events.emplace_back(data); }));
    begin = end;
  };
  for (const size_t cut : cuts) feed(cut);
  feed(text.size());
  return events;
}

TEST(SseParserTest, EveryCutGivesTheSameEvents) {
  const std::string text =
      "\xef\xbb\xbf"
      "data: first\n\n"
      ": a comment\n\n"
      "data:second\r\n\r\n"
      "event: note\rid: 7\rdata: third\rdata\rdata:  line\r\r"
      "database: no\ndatum\n\n"
      "data\n\n"
      "\n\n\r\n"
      "data: [DONE]\n\n"
      "data: never ended\n";
  const Events expected = {"first", "second", "third\n\n line", "", "[DONE]"};
  EXPECT_EQ(Parse(text, {}), expected);
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      ASSERT_EQ(Parse(text, {i, j}), expected) << i << ' ' << j;
    }
  }
  std::vector<size_t> everywhere;
  for (size_t i = 1; i < text.size(); ++i) everywhere.push_back(i);
  EXPECT_EQ(Parse(text, everywhere), expected);
}

TEST(SseParserTest, AnEventWithoutEndIsRefused) {
  const std::string piece = "data: " + std::string(4096, 'x');
  for (const std::string& line : {piece + "\n", piece}) {
    SseParser parser;
    const auto ignore = [](std::string_view) {};
    int64_t bytes = 0;
    while (bytes < (20 << 20) && parser.Feed(line, ignore)) bytes += std::ssize(line);
    EXPECT_LT(bytes, 20 << 20);
    EXPECT_FALSE(parser.Feed("\n\n", ignore));
  }
}

}  // namespace
}  // namespace longspan::load
