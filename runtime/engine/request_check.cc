#include "runtime/engine/request_check.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/engine/sampler.h"

namespace longspan {
namespace {

absl::Status CheckTokens(const Request& request, int64_t vocab_size) {
  if (request.prompt.empty())
    return absl::InvalidArgumentError("the prompt is empty; it needs at least one token");
  const auto check = [vocab_size](const std::vector<int32_t>& tokens, const char* what) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
      return absl::InvalidArgumentError(absl::StrCat("token ", tokens[i], " at position ", i, " of the ",
                                                     what, " is not in the vocabulary of ", vocab_size,
                                                     " tokens; use ids of this model's tokenizer"));
    }
    return absl::OkStatus();
  };
  LONGSPAN_RETURN_IF_ERROR(check(request.prompt, "prompt"));
  return check(request.generated, "output so far");
}

}  // namespace

absl::StatusOr<int64_t> CheckRequest(const Request& request, const RequestLimits& limits) {
  LONGSPAN_RETURN_IF_ERROR(CheckTokens(request, limits.vocab_size));
  LONGSPAN_RETURN_IF_ERROR(ValidateSampling(request.sampling, limits.vocab_size));
  if (request.priority < kLowestPriority || request.priority > kHighestPriority) {
    return absl::InvalidArgumentError(absl::StrCat("priority is ", request.priority, "; it must be from ",
                                                   kLowestPriority, " to ", kHighestPriority));
  }
  const int64_t least_output = request.prompt_logits ? 0 : 1;
  if (request.max_tokens && *request.max_tokens < least_output) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", *request.max_tokens, "; it must be at least ", least_output));
  }

  if (request.max_tokens && !request.generated.empty() &&
      static_cast<int64_t>(request.generated.size()) >= *request.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens is ", *request.max_tokens, ", and ",
                                                   request.generated.size(),
                                                   " tokens were generated before"));
  }

  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t last_position = prompt + static_cast<int64_t>(request.generated.size()) - 1;
  if (request.first_logits < 0 || request.first_logits > last_position) {
    return absl::InvalidArgumentError(
        absl::StrCat("first_logits is ", request.first_logits, "; it must be from 0 to ", last_position));
  }
  const int64_t wanted = request.max_tokens.value_or(
      std::clamp(limits.max_context - prompt, least_output, limits.default_max_tokens));
  const bool store_decides = limits.store_tokens < limits.max_context;
  const int64_t limit = store_decides ? limits.store_tokens : limits.max_context;
  // Of the output of a request that goes on elsewhere one token belongs here.
  const int64_t stays = request.sends_to ? static_cast<int64_t>(request.generated.size()) + 1 : wanted;
  if (stays <= limit - prompt) return wanted;

  const int64_t fits = std::max<int64_t>(0, limit - prompt);
  return absl::InvalidArgumentError(absl::StrCat(
      "the prompt of ", prompt, " tokens and an output of ", wanted, " do not fit the limit of ", limit,
      " tokens (", store_decides ? "what the KV memory of this group can hold" : "the longest context",
      "); the largest output ", "that fits is ", fits,
      fits >= std::max<int64_t>(1, least_output) ? ": lower max_tokens" : ": shorten the prompt"));
}

}  // namespace longspan
