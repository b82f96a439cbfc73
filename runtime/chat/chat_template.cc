#include "runtime/chat/chat_template.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/chat/json_text.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

// Special tokens are put around it as around any text.
constexpr std::string_view kPlainTemplate =
    "{% for message in messages if message.content %}\n"
    "{{ message.role | capitalize }}: {{ message.content | trim }}\n"
    "{% endfor %}\n"
    "{{ 'Assistant:' if add_generation_prompt }}";

absl::Status Wrong(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, " ", what));
}

// Joins parts of text into one.
absl::Status FlattenContent(const std::string& where, ordered_json* content) {
  if (content->is_string() || content->is_null()) return absl::OkStatus();
  if (!content->is_array()) return Wrong(where, "must be a text, a list of parts, or null");
  std::string text;
  for (const ordered_json& part : *content) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      return Wrong(where, "has a part that is not an object with a \"type\"");
    }
    if (part["type"] != "text") {
      return Wrong(where, absl::StrCat("has a part of type \"", part["type"].get<std::string>(),
                                       "\"; only parts of type \"text\" can be read"));
    }
    if (!part.contains("text") || !part["text"].is_string()) {
      return Wrong(where, "has a part of type \"text\" without a \"text\"");
    }
    text += part["text"].get_ref<const std::string&>();
  }
  *content = std::move(text);
  return absl::OkStatus();
}

// Checks what is the same for all templates.
absl::Status NormalizeMessages(ordered_json* messages) {
  if (!messages->is_array() || messages->empty())
    return Wrong("messages", "must be a list of at least one message");
  for (size_t i = 0; i < messages->size(); ++i) {
    ordered_json& message = (*messages)[i];
    const std::string where = absl::StrCat("messages[", i, "]");
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return Wrong(where, "must be an object with a \"role\" and a \"content\"");
    }
    if (message.contains("content")) {
      LONGSPAN_RETURN_IF_ERROR(FlattenContent(where + ".content", &message["content"]));
    } else if (!message.contains("tool_calls")) {
      return Wrong(where, "has no \"content\"");
    }
    if (!message.contains("tool_calls") || message["tool_calls"].is_null()) continue;
    if (!message["tool_calls"].is_array()) return Wrong(where + ".tool_calls", "must be a list");
    for (const ordered_json& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) {
        return Wrong(where + ".tool_calls", "must be a list of objects with a \"function\"");
      }
    }
  }
  return absl::OkStatus();
}

// Makes objects of arguments that are JSON texts; whether there were any.
bool ParseArguments(ordered_json* messages) {
  bool any = false;
  for (ordered_json& message : *messages) {
    if (!message.contains("tool_calls")) continue;
    for (ordered_json& call : message["tool_calls"]) {
      ordered_json& function = call["function"];
      if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
      absl::StatusOr<ordered_json> parsed =
          ParseJsonText(function["arguments"].get_ref<const std::string&>());
      if (!parsed.ok() || !parsed->is_object()) continue;
      function["arguments"] = *std::move(parsed);
      any = true;
    }
  }
  return any;
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Create(const ModelFiles& files, const Tokenizer* tokenizer) {
  const bool from_model = files.ChatTemplate().has_value();
  absl::StatusOr<jinja::Template> parsed =
      jinja::Template::Parse(from_model ? std::string_view(*files.ChatTemplate()) : kPlainTemplate);
  if (!parsed.ok()) {
    return absl::Status(parsed.status().code(),
                        absl::StrCat(files.path(), ": ", std::string(parsed.status().message())));
  }
  return ChatTemplate(*std::move(parsed), tokenizer, from_model);
}

ChatTemplate::ChatTemplate(jinja::Template parsed, const Tokenizer* tokenizer, bool from_model)
    : template_(std::move(parsed)), tokenizer_(tokenizer), from_model_(from_model) {
  if (const std::optional<int32_t> bos = tokenizer->bos_id()) bos_token_ = tokenizer->Spelling(*bos);
  if (const std::vector<int32_t> eos = tokenizer->eos_ids(); !eos.empty()) {
    eos_token_ = tokenizer->Spelling(eos.front());
  }
}

absl::StatusOr<std::string> ChatTemplate::Render(const ordered_json& conversation, const std::tm& now) const {
  ordered_json variables = {{"messages", nullptr},     {"tools", nullptr},
                            {"documents", nullptr},    {"add_generation_prompt", true},
                            {"bos_token", bos_token_}, {"eos_token", eos_token_}};
  variables.update(conversation);
  LONGSPAN_RETURN_IF_ERROR(NormalizeMessages(&variables["messages"]));
  jinja::RenderOptions options;
  options.now = now;
  ordered_json as_objects = variables;
  const bool has_texts = ParseArguments(&as_objects["messages"]);
  absl::StatusOr<std::string> prompt = template_.Render(as_objects, options);
  // Some templates write arguments as they came.
  if (!prompt.ok() && has_texts) prompt = template_.Render(variables, options);
  return prompt;
}

absl::StatusOr<std::vector<int32_t>> ChatTemplate::Encode(std::string_view prompt) const {
  EncodeOptions options;
  options.add_special = !from_model_;
  options.parse_special = from_model_;
  return tokenizer_->Encode(prompt, options);
}

}  // namespace longspan
