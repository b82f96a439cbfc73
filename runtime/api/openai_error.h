// Errors as OpenAI's API tells them: an HTTP status and {"error": {"message", "type", "param", "code"}}.
//
// The status codes mean: InvalidArgument 400, Unauthenticated 401, PermissionDenied 403, NotFound 404,
// OutOfRange 413, ResourceExhausted 429, Cancelled 499, Unimplemented 501, Unavailable 503,
// DeadlineExceeded 504, all others 500.
// https://platform.openai.com/docs/guides/error-codes
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longspan {

// InvalidArgument about one field of a request: "messages[1].content". `message` says what the value is and
// what would be right; the field's name is put before it.
absl::Status InvalidField(std::string_view param, std::string_view message);

// The same error with one more thing known. An error that has it keeps its own, so that the place nearest to
// the cause decides; OK stays OK.
absl::Status WithParam(absl::Status status, std::string_view param);  // which field is wrong
absl::Status WithCode(absl::Status status, std::string_view code);    // for programs: "model_not_found"
absl::Status WithRetryAfter(absl::Status status, double seconds);
absl::Status WithHttpStatus(absl::Status status, int http_status);  // where the list above does not fit

std::optional<std::string> ErrorParam(const absl::Status& status);
std::optional<std::string> ErrorCode(const absl::Status& status);
// Whole seconds, at least 1, for the header Retry-After.
std::optional<int> RetryAfterSeconds(const absl::Status& status);

// Of an error that is not OK.
int HttpStatus(const absl::Status& status);
std::string ErrorBody(const absl::Status& status);   // JSON; always valid UTF-8
std::string ErrorEvent(const absl::Status& status);  // the same as a server-sent event, within a stream

}  // namespace longspan
