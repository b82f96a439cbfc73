// The conversation of a request: messages and what the chat template is given beside them.
// https://platform.openai.com/docs/api-reference/chat/create (messages)
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace longspan {

// From "messages", "chat_template_kwargs" and "add_generation_prompt" of a request, for ChatTemplate::Render.
// Messages are checked; role "developer" becomes "system", which is what templates know; null members other
// than "content" are left out.
absl::StatusOr<nlohmann::ordered_json> ReadConversation(const nlohmann::ordered_json& request);

}  // namespace longspan
