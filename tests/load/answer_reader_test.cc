#include "launcher/load/answer_reader.h"

#include <gtest/gtest.h>

namespace longspan::load {
namespace {

constexpr char kAnswer[] =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":4}}\n\n"
    "data: [DONE]\n\n";

RequestRecord Read(std::string_view text, size_t cut, absl::Status end = absl::OkStatus(),
                   const HttpHead& head = {200, "text/event-stream", {}}) {
  RequestRecord record;
  AnswerReader reader(&record);
  if (head.status != 0) reader.OnHead(head);
  reader.OnBody(text.substr(0, cut), 1);
  reader.OnBody(text.substr(cut), 3);
  reader.OnEnd(end, 5);
  return record;
}

TEST(AnswerReaderTest, CountsTokensAndTimesThem) {
  const std::string_view text = kAnswer;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const RequestRecord record = Read(text, cut);
    ASSERT_TRUE(record.completed()) << record.error;
    ASSERT_TRUE(record.has_usage);
    ASSERT_EQ(record.prompt_tokens, 7);
    ASSERT_EQ(record.completion_tokens, 4);
    ASSERT_EQ(record.finish_reason, "length");
    ASSERT_EQ(record.gaps_s.size(), 2u);
    ASSERT_EQ(record.end_s, 5);
  }
  // The first token is the first text, not the role.
  const size_t before_a = text.find("data", 1), after_a = text.find("data", before_a + 1);
  EXPECT_EQ(Read(text, before_a).first_token_s, 3);
  const RequestRecord record = Read(text, after_a);
  EXPECT_EQ(record.first_token_s, 1);
  EXPECT_EQ(record.last_token_s, 3);
  EXPECT_EQ(record.gaps_s, (std::vector<float>{2, 0}));
  EXPECT_NEAR(*record.TpotSeconds(), 2.0 / 3, 1e-12);
}

TEST(AnswerReaderTest, PiecesCountWithoutUsage) {
  const RequestRecord record = Read(
      "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\" "
      "b\",\"finish_reason\":\"length\"}]}\n\n"
      "data: [DONE]\n\n",
      0);
  EXPECT_TRUE(record.completed());
  EXPECT_FALSE(record.has_usage);
  EXPECT_EQ(record.completion_tokens, 2);
}

TEST(AnswerReaderTest, AnAnswerWithoutTextEndsWithItsFirstToken) {
  const RequestRecord record = Read(
      "data: "
      "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}],\"usage\":{\"completion_tokens\":1}}\n\n",
      0);
  EXPECT_TRUE(record.completed());
  EXPECT_EQ(record.first_token_s, 3);
  EXPECT_FALSE(record.TpotSeconds().has_value());
}

struct Case {
  const char* text;
  absl::Status end;
  HttpHead head;
  Outcome outcome;
  const char* error;
};

TEST(AnswerReaderTest, SaysWhatWentWrong) {
  const HttpHead stream{200, "text/event-stream", {}};
  const char* const begun = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
  const Case cases[] = {
      {"{\"error\":{\"message\":\"too busy\"}}",
       absl::OkStatus(),
       {429, "application/json", 1},
       Outcome::kHttpError,
       "too busy"},
      {"<h1>no\nsuch</h1>",
       absl::OkStatus(),
       {404, "text/html", {}},
       Outcome::kHttpError,
       "<h1>no such</h1>"},
      {"{\"detail\":1}", absl::OkStatus(), {500, "", {}}, Outcome::kHttpError, "{\"detail\":1}"},
      {"", absl::UnavailableError("refused"), {}, Outcome::kNoConnection, "refused"},
      {begun, absl::DataLossError("closed"), stream, Outcome::kDisconnected, "closed"},
      {begun, absl::DeadlineExceededError("silence"), stream, Outcome::kTimedOut, "silence"},
      {begun, absl::CancelledError("cancelled"), stream, Outcome::kCancelled, "cancelled"},
      {begun, absl::InvalidArgumentError("bad chunk"), stream, Outcome::kBadAnswer, "bad chunk"},
      {begun, absl::OkStatus(), stream, Outcome::kBadAnswer, "without [DONE]"},
      {"data: {\"choices\":[3]}\n\n", absl::OkStatus(), stream, Outcome::kBadAnswer, "no object"},
      {"data: {garbage\n\n", absl::OkStatus(), stream, Outcome::kBadAnswer, "{garbage"},
      {"data: {\"error\":{\"message\":\"rank 1 died\"}}\n\ndata: [DONE]\n\n", absl::OkStatus(), stream,
       Outcome::kErrorInStream, "rank 1 died"},
      {"{\"choices\":[]}",
       absl::OkStatus(),
       {200, "application/json", {}},
       Outcome::kBadAnswer,
       "no event stream"},
  };
  for (const Case& c : cases) {
    const RequestRecord record = Read(c.text, 0, c.end, c.head);
    EXPECT_EQ(record.outcome, c.outcome) << c.text;
    EXPECT_NE(record.error.find(c.error), std::string::npos) << record.error;
    EXPECT_EQ(record.completion_tokens, c.text == begun ? 1 : 0);
  }
  // What is whole stays so.
  EXPECT_TRUE(Read(kAnswer, 0, absl::DataLossError("closed")).completed());
}

TEST(AnswerReaderTest, ErrorKinds) {
  RequestRecord record;
  record.outcome = Outcome::kHttpError;
  record.http_status = 503;
  EXPECT_EQ(record.ErrorKind(), "HTTP 503");
  record.outcome = Outcome::kErrorInStream;
  EXPECT_EQ(record.ErrorKind(), "error in stream");
}

}  // namespace
}  // namespace longspan::load
