#include "runtime/engine/request.h"

#include "kernels/check.h"

namespace longspan {

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  LONGSPAN_CHECK(!"a finish reason that does not exist");
  return {};
}

}  // namespace longspan
