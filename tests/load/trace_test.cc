#include "launcher/load/trace.h"

#include <gtest/gtest.h>

namespace longspan::load {
namespace {

std::string Error(std::string_view text) {
  const auto trace = ParseTrace(text, "t");
  return trace.ok() ? "" : std::string(trace.status().message());
}

TEST(TraceTest, ReadsAzuresTable) {
  // Over midnight at the end of February of a leap year, in another order, in Windows' lines.
  const auto trace = ParseTrace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2024-02-29 23:59:59.5000000,374,44\r\n"
      "2024-03-01 00:00:00.0000000,396,0\r\n\r\n"
      "2024-02-29T23:59:59.75+00:00,8,1\r\n",
      "t");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 3u);
  EXPECT_EQ((*trace)[0].arrival_s, 0);
  EXPECT_EQ((*trace)[1].arrival_s, 0.25);
  EXPECT_EQ((*trace)[2].arrival_s, 0.5);
  EXPECT_EQ((*trace)[0].input_tokens, 374);
  EXPECT_EQ((*trace)[0].output_tokens, 44);
  EXPECT_EQ((*trace)[2].output_tokens, 1);
}

TEST(TraceTest, ReadsMooncakesLines) {
  auto trace = ParseTrace(
      "{\"timestamp\": 1000, \"input_length\": 600, \"output_length\": 500, \"hash_ids\": [0, 7]}\n"
      "{\"timestamp\": 4000, \"input_length\": 9, \"output_length\": 3}",
      "t");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].block_ids, (std::vector<int64_t>{0, 7}));
  EXPECT_EQ((*trace)[1].arrival_s, 3);
  ScaleTrace(0.5, 0.1, &*trace);
  EXPECT_EQ((*trace)[1].arrival_s, 1.5);
  EXPECT_EQ((*trace)[0].input_tokens, 60);
  EXPECT_EQ((*trace)[0].block_tokens, 51);
  EXPECT_EQ((*trace)[1].output_tokens, 1);
}

TEST(TraceTest, ErrorsNameTheLine) {
  EXPECT_EQ(Error(""), "t: holds no request");
  EXPECT_EQ(Error("TIMESTAMP,ContextTokens,GeneratedTokens\n"), "t: holds no request");
  EXPECT_NE(Error("time,ContextTokens\n").find("t:1: has no column TIMESTAMP"), std::string::npos);
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  for (const char* line : {"2023-02-29 00:00:00,1,1", "2023-02-28 24:00:00,1,1", "2023-02-28 00:00:00x,1,1",
                           ",1,1", "2023-02-28 00:00:nan,1,1"}) {
    EXPECT_NE(Error(header + line).find("t:2: '"), std::string::npos) << line;
  }
  for (const char* line : {"2023-02-28 00:00:00,1,-1", "2023-02-28 00:00:00,1,x", "2023-02-28 00:00:00,1"}) {
    EXPECT_NE(Error(header + line).find("t:2: "), std::string::npos) << line;
  }
  const std::string good = "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1}\n";
  for (const char* line :
       {"{", "{}", "{\"timestamp\": 1, \"input_length\": 1.5, \"output_length\": 1}", "[1]",
        "{\"timestamp\": \"1\", \"input_length\": 1, \"output_length\": 1}",
        "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": -1}",
        "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [\"a\"]}"}) {
    EXPECT_NE(Error(good + line).find("t:2: "), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace longspan::load
