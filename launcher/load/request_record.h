// What became of one request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace longspan::load {

enum class Outcome {
  kCompleted,
  kHttpError,      // a status other than 200
  kNoConnection,   // nobody listens, or the handshake failed
  kDisconnected,   // the connection broke before the answer's end
  kTimedOut,       // no byte came for as long as --timeout says
  kErrorInStream,  // an error object as an event of the stream
  kBadAnswer,      // not what the protocol allows
  kCancelled,      // by the end of the run
};

// As a word of JSON and CSV: "completed", "http_error", ...
const char* OutcomeName(Outcome outcome);

// Times are in seconds since the beginning of the run.
struct RequestRecord {
  int64_t index = 0;  // in order of arrival
  int64_t input_tokens_wanted = 0, output_tokens_wanted = 0;

  double scheduled_s = 0;                      // when it had to be sent; latencies count from here
  double sent_s = 0;                           // when it was, for the first time
  double first_token_s = 0, last_token_s = 0;  // 0 without a token
  double end_s = 0;
  std::vector<float> gaps_s;  // between pieces of text that followed each other

  Outcome outcome = Outcome::kCancelled;
  int http_status = 0;  // 0 when there was none
  std::string error;    // what was wrong, unless completed
  int64_t retries = 0;

  bool has_usage =
      false;  // the server counted; else prompt_tokens is 0 and a piece of text counts as a token
  int64_t prompt_tokens = 0, completion_tokens = 0;
  std::string finish_reason;

  bool completed() const { return outcome == Outcome::kCompleted; }
  double LagSeconds() const { return sent_s - scheduled_s; }
  // Time to the first token.
  double TtftSeconds() const { return first_token_s - scheduled_s; }
  // Time per output token after the first; nothing with fewer than two.
  std::optional<double> TpotSeconds() const {
    if (completion_tokens < 2) return std::nullopt;
    return (last_token_s - first_token_s) / static_cast<double>(completion_tokens - 1);
  }
  double E2eSeconds() const { return end_s - scheduled_s; }
  // "HTTP 429" or the outcome in words: what failed requests are counted by.
  std::string ErrorKind() const;
};

}  // namespace longspan::load
