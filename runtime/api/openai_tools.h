// What a request lets the model call, and what its answer must be.
// https://platform.openai.com/docs/api-reference/chat/create (tools, tool_choice, response_format)
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/api/openai_request.h"

namespace longspan {

// Reads "tools", "tool_choice" and "parallel_tool_calls".
absl::StatusOr<ToolUse> ReadToolUse(const nlohmann::ordered_json& request);

// Reads "response_format".
absl::StatusOr<ResponseFormat> ReadResponseFormat(const nlohmann::ordered_json& request);

}  // namespace longspan
