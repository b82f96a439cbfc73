#include "runtime/api/openai_error.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/api/json_writer.h"

namespace longspan {
namespace {

constexpr const char* kParam = "longspan/param";
constexpr const char* kCode = "longspan/code";
constexpr const char* kRetryAfter = "longspan/retry-after-seconds";
constexpr const char* kHttpStatus = "longspan/http-status";

std::optional<std::string> Payload(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

absl::Status With(absl::Status status, const char* name, const std::string& value) {
  if (!Payload(status, name).has_value()) status.SetPayload(name, absl::Cord(value));
  return status;
}

// The names that OpenAI's API gives to kinds of errors.
std::string_view ErrorType(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return http_status >= 500 ? "server_error" : "invalid_request_error";
  }
}

void AppendMember(const char* name, const std::optional<std::string>& value, std::string* out) {
  absl::StrAppend(out, ",\"", name, "\":", value.has_value() ? JsonString(*value) : "null");
}

}  // namespace

absl::Status InvalidField(std::string_view param, std::string_view message) {
  return WithParam(
      absl::InvalidArgumentError(absl::StrCat("'", std::string(param), "' ", std::string(message))), param);
}

absl::Status WithParam(absl::Status status, std::string_view param) {
  return With(std::move(status), kParam, std::string(param));
}

absl::Status WithCode(absl::Status status, std::string_view code) {
  return With(std::move(status), kCode, std::string(code));
}

absl::Status WithRetryAfter(absl::Status status, double seconds) {
  constexpr double kLongest = 24 * 60 * 60;
  const double whole = std::isnan(seconds) ? 1 : std::ceil(std::clamp(seconds, 1.0, kLongest));
  return With(std::move(status), kRetryAfter, absl::StrCat(static_cast<int>(whole)));
}

absl::Status WithHttpStatus(absl::Status status, int http_status) {
  return With(std::move(status), kHttpStatus, absl::StrCat(http_status));
}

std::optional<std::string> ErrorParam(const absl::Status& status) { return Payload(status, kParam); }

std::optional<std::string> ErrorCode(const absl::Status& status) { return Payload(status, kCode); }

std::optional<int> RetryAfterSeconds(const absl::Status& status) {
  const std::optional<std::string> payload = Payload(status, kRetryAfter);
  int seconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(*payload, &seconds)) return std::nullopt;
  return seconds;
}

int HttpStatus(const absl::Status& status) {
  int named = 0;
  const std::optional<std::string> payload = Payload(status, kHttpStatus);
  if (payload.has_value() && absl::SimpleAtoi(*payload, &named)) return named;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kOutOfRange:
      return 413;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string ErrorBody(const absl::Status& status) {
  std::string body = "{\"error\":{\"message\":";
  AppendJsonString(std::string(status.message()), &body);
  AppendMember("type", std::string(ErrorType(HttpStatus(status))), &body);
  AppendMember("param", ErrorParam(status), &body);
  AppendMember("code", ErrorCode(status), &body);
  return body + "}}";
}

std::string ErrorEvent(const absl::Status& status) {
  return absl::StrCat("data: ", ErrorBody(status), "\n\n");
}

}  // namespace longspan
