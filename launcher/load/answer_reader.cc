#include "launcher/load/answer_reader.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace longspan::load {
namespace {

using nlohmann::json;

constexpr size_t kMaxShownBytes = 300;
constexpr size_t kMaxErrorBody = 1 << 16;

// A line of at most kMaxShownBytes, and what UTF-8 was stays so.
std::string Shorten(std::string_view text) {
  size_t end = std::min(text.size(), kMaxShownBytes);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  std::string line(text.substr(0, end));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return end < text.size() ? line + "..." : line;
}

// Of an object, parsed from `text`.
std::string MessageOf(const json& object, std::string_view text) {
  const auto error = object.find("error");
  const json& where = error == object.end() ? object : *error;
  if (where.is_string()) return Shorten(where.get_ref<const std::string&>());
  const auto message = where.find("message");
  if (where.is_object() && message != where.end() && message->is_string()) {
    return Shorten(message->get_ref<const std::string&>());
  }
  return Shorten(text);
}

bool IsText(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() && !it->get_ref<const std::string&>().empty();
}

// Whether a choice of a chunk brings something that was generated.
bool BringsText(const json& choice) {
  if (IsText(choice, "text")) return true;
  const auto delta = choice.find("delta");
  if (delta == choice.end() || !delta->is_object()) return false;
  for (const char* name : {"content", "reasoning_content", "reasoning", "refusal"}) {
    if (IsText(*delta, name)) return true;
  }
  const auto calls = delta->find("tool_calls");
  return calls != delta->end() && calls->is_array() && !calls->empty();
}

int64_t Count(const json& usage, const char* name) {
  const auto it = usage.find(name);
  return it != usage.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
}

}  // namespace

std::string ErrorMessage(std::string_view body) {
  const json object = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) return MessageOf(object, body);
  std::string text = Shorten(body);
  // May be anything; reports hold UTF-8.
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c >= 0x7f; }, '?');
  return text;
}

void AnswerReader::Fail(Outcome outcome, std::string error) {
  if (std::exchange(failed_, true)) return;
  record_.outcome = outcome;
  record_.error = std::move(error);
}

void AnswerReader::OnHead(const HttpHead& head) {
  record_.http_status = head.status;
  is_stream_ = head.status == 200 && head.content_type == "text/event-stream";
}

void AnswerReader::OnBody(std::string_view piece, double now_s) {
  if (!is_stream_) {
    body_ += piece.substr(0, kMaxErrorBody - body_.size());
    return;
  }
  const bool fed = parser_.Feed(piece, [&](std::string_view data) { OnEvent(data, now_s); });
  if (!fed) Fail(Outcome::kBadAnswer, "an event of the stream is too long");
}

void AnswerReader::OnEvent(std::string_view data, double now_s) {
  if (failed_) return;
  if (data == "[DONE]") {
    ended_ = true;
    return;
  }
  const json event = json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!event.is_object()) {
    return Fail(Outcome::kBadAnswer, absl::StrCat("an event is no JSON object: ", ErrorMessage(data)));
  }
  if (const auto error = event.find("error"); error != event.end() && !error->is_null()) {
    return Fail(Outcome::kErrorInStream, MessageOf(event, data));
  }
  if (const auto usage = event.find("usage"); usage != event.end() && usage->is_object()) {
    record_.has_usage = true;
    record_.prompt_tokens = Count(*usage, "prompt_tokens");
    record_.completion_tokens = Count(*usage, "completion_tokens");
  }
  const auto choices = event.find("choices");
  if (choices == event.end() || !choices->is_array() || choices->empty()) return;
  const json& choice = choices->front();
  if (!choice.is_object()) return Fail(Outcome::kBadAnswer, "a choice of the stream is no object");
  const auto reason = choice.find("finish_reason");
  const bool finishes = reason != choice.end() && reason->is_string();
  if (BringsText(choice)) OnPiece(now_s);
  if (!finishes) return;
  // Tokens without a text were generated all the same.
  if (pieces_ == 0) record_.first_token_s = record_.last_token_s = now_s;
  record_.finish_reason = reason->get<std::string>();
  ended_ = true;
}

void AnswerReader::OnPiece(double now_s) {
  if (pieces_++ == 0) {
    record_.first_token_s = now_s;
  } else {
    record_.gaps_s.push_back(static_cast<float>(now_s - record_.last_token_s));
  }
  record_.last_token_s = now_s;
}

void AnswerReader::OnEnd(const absl::Status& status, double now_s) {
  record_.end_s = now_s;
  if (!record_.has_usage) record_.completion_tokens = pieces_;
  if (failed_) return;
  // An answer that is whole stays so, however the connection ends after it.
  if (!status.ok() && !ended_) {
    const Outcome outcome = status.code() == absl::StatusCode::kCancelled          ? Outcome::kCancelled
                            : status.code() == absl::StatusCode::kUnavailable      ? Outcome::kNoConnection
                            : status.code() == absl::StatusCode::kDeadlineExceeded ? Outcome::kTimedOut
                            : status.code() == absl::StatusCode::kInvalidArgument  ? Outcome::kBadAnswer
                                                                                   : Outcome::kDisconnected;
    return Fail(outcome, std::string(status.message()));
  }
  if (record_.http_status != 200) return Fail(Outcome::kHttpError, ErrorMessage(body_));
  if (!is_stream_) {
    return Fail(Outcome::kBadAnswer,
                absl::StrCat("the answer is no event stream but: ", ErrorMessage(body_)));
  }
  if (!ended_)
    return Fail(Outcome::kBadAnswer, "the stream ended without [DONE] and without a finish_reason");
  record_.outcome = Outcome::kCompleted;
}

}  // namespace longspan::load
