// Errors as whole HTTP answers.
#pragma once

#include "absl/status/status.h"
#include "runtime/api/http_message.h"

namespace longspan {

// Status, body and headers, as openai_error.h tells them. `error` is not OK.
HttpResponse ErrorResponse(const absl::Status& error);

}  // namespace longspan
