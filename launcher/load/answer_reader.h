// Reads one streamed answer and writes what it brings into a record.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "launcher/load/http_client.h"
#include "launcher/load/request_record.h"
#include "launcher/load/sse_parser.h"

namespace longspan::load {

// What a server says is wrong, from the body of its answer: OpenAI's {"error": {"message"}} or the text as it
// is, cut to a line.
std::string ErrorMessage(std::string_view body);

// An event of an answer that brings text, of either endpoint, is a piece; the first is the first token.
// Several pieces in one read count as having come at once. One thread at a time.
class AnswerReader {
 public:
  // `record` must outlive this.
  explicit AnswerReader(RequestRecord* record) : record_(*record) {}

  // `now_s` in seconds since the beginning of the run.
  void OnHead(const HttpHead& head);
  void OnBody(std::string_view piece, double now_s);
  // Decides on the outcome.
  void OnEnd(const absl::Status& status, double now_s);

 private:
  void OnEvent(std::string_view data, double now_s);
  void OnPiece(double now_s);
  void Fail(Outcome outcome, std::string error);

  RequestRecord& record_;
  bool is_stream_ = false;
  bool ended_ = false;  // [DONE] or a finish reason
  bool failed_ = false;
  int64_t pieces_ = 0;
  std::string body_;  // of what is no stream
  SseParser parser_;
};

}  // namespace longspan::load
