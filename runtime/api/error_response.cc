#include "runtime/api/error_response.h"

#include "absl/strings/str_cat.h"
#include "runtime/api/openai_error.h"

namespace longspan {

HttpResponse ErrorResponse(const absl::Status& error) {
  HttpResponse response{.status = HttpStatus(error), .body = ErrorBody(error)};
  if (const auto seconds = RetryAfterSeconds(error)) {
    response.headers.emplace_back("retry-after", absl::StrCat(*seconds));
  }
  if (response.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

}  // namespace longspan
