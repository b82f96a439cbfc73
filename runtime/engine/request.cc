#include "runtime/engine/request.h"

#include "kernels/check.h"

namespace longspan {

Request Copy(const Request& request) {
  return {.prompt = request.prompt,
          .generated = request.generated,
          .max_tokens = request.max_tokens,
          .sampling = request.sampling,
          .ignore_eos = request.ignore_eos,
          .prompt_logits = request.prompt_logits,
          .first_logits = request.first_logits,
          .logprobs = request.logprobs,
          .priority = request.priority,
          .deadline = request.deadline,
          .constraint = nullptr,
          .grammar = request.grammar,
          .label = request.label,
          .shift = request.shift,
          .receives_from = request.receives_from,
          .sends_to = request.sends_to};
}

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
