// The body of a request that anybody may have sent, to every endpoint. What is accepted can be rendered by a
// chat template's JSON and answered; what is refused is told in valid JSON.
#include <nlohmann/json.hpp>

#include "kernels/check.h"
#include "runtime/api/openai_error.h"
#include "runtime/api/openai_request.h"
#include "runtime/api/openai_response.h"
#include "runtime/api/tool_call_prompt.h"

namespace {

using longspan::CompletionCall;

void CheckError(const absl::Status& status) {
  LONGSPAN_CHECK(longspan::HttpStatus(status) == 400);
  LONGSPAN_CHECK(nlohmann::json::accept(longspan::ErrorBody(status)));
}

void Answer(const absl::StatusOr<CompletionCall>& call) {
  if (!call.ok()) return CheckError(call.status());
  (void)longspan::TellTools(call->chat
                                ? call->conversation
                                : nlohmann::ordered_json{{"messages", nlohmann::ordered_json::array()}});
  longspan::ResponseContext context;
  context.model = call->model;
  longspan::CompletionResponse response(*call, context);
  std::string answer = response.Begin();
  answer += response.OnText(0, call->model, {}, {});
  answer += response.OnFinish(0, longspan::FinishReason::kStop);
  answer += response.End({});
  LONGSPAN_CHECK(call->stream || nlohmann::json::accept(answer));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  Answer(longspan::ParseChatCompletion(body));
  Answer(longspan::ParseCompletion(body));
  if (const auto call = longspan::ParseTokenize(body); !call.ok()) CheckError(call.status());
  if (const auto call = longspan::ParseDetokenize(body); !call.ok()) CheckError(call.status());
  if (const auto call = longspan::ParseApplyTemplate(body); !call.ok()) CheckError(call.status());
  return 0;
}
