// Tools in conversations for chat templates that know nothing of them.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace longspan {

// `chat_template` is Jinja text as in ModelFiles::ChatTemplate().
bool TemplateKnowsTools(std::string_view chat_template);

// The same conversation (as for ChatTemplate::Render, messages checked) without "tools" and without roles
// other than system, user and assistant. The first message tells the tools and to answer in
// ToolCallFormat::kJson, earlier calls become texts of that form, and their results texts of the user.
nlohmann::ordered_json TellTools(nlohmann::ordered_json conversation);

}  // namespace longspan
