#include "runtime/api/openai_messages.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/openai_error.h"
#include "runtime/api/request_fields.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostTemplateArguments = 64;
constexpr const char* kContent = "a string or a list of parts of type \"text\"";

// A part of type "refusal" becomes one of type "text": both are what the assistant said.
absl::Status NormalizePart(const std::string& path, bool assistant, ordered_json* part) {
  if (!part->is_object()) return MustBe(path, *part, "an object with a \"type\"");
  const RequestFields fields(*part, path);
  std::string type;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("type", &type));
  if (type != "text" && !(assistant && type == "refusal")) {
    const std::string only = "\"text\": this model reads text alone";
    return fields.Find("type") == nullptr ? Missing(fields.Path("type"), only)
                                          : MustBe(fields.Path("type"), (*part)["type"], only);
  }
  std::string text;
  if (fields.Find(type) == nullptr) return Missing(fields.Path(type), "a string");
  LONGSPAN_RETURN_IF_ERROR(fields.Read(type, &text));
  *part = {{"type", "text"}, {"text", std::move(text)}};
  return absl::OkStatus();
}

// `optional`: something else in the message says what there is to say.
absl::Status NormalizeContent(const std::string& path, bool assistant, bool optional, ordered_json* message) {
  const auto content = message->find("content");
  if (content == message->end() || content->is_null()) {
    return optional ? absl::OkStatus() : Missing(path, kContent);
  }
  if (content->is_string()) return absl::OkStatus();
  if (!content->is_array()) return MustBe(path, *content, kContent);
  for (size_t i = 0; i < content->size(); ++i) {
    LONGSPAN_RETURN_IF_ERROR(NormalizePart(absl::StrCat(path, "[", i, "]"), assistant, &(*content)[i]));
  }
  return absl::OkStatus();
}

absl::Status RequireString(const RequestFields& fields, std::string_view name) {
  std::string value;
  if (fields.Find(name) == nullptr) return Missing(fields.Path(name), "a string");
  return fields.Read(name, &value);
}

absl::Status CheckToolCalls(const RequestFields& message) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const calls, message.FindList("tool_calls"));
  if (calls == nullptr) return absl::OkStatus();
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string path = absl::StrCat(message.Path("tool_calls"), "[", i, "]");
    const ordered_json& call = (*calls)[i];
    if (!call.is_object()) return MustBe(path, call, "an object with \"id\", \"type\" and \"function\"");
    const RequestFields fields(call, path);
    LONGSPAN_RETURN_IF_ERROR(RequireString(fields, "id"));
    std::string type = "function";
    LONGSPAN_RETURN_IF_ERROR(fields.Read("type", &type));
    if (type != "function") return MustBe(fields.Path("type"), call["type"], "\"function\"");
    LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const function, fields.FindObject("function"));
    if (function == nullptr) {
      return Missing(fields.Path("function"), "an object with \"name\" and \"arguments\"");
    }
    const RequestFields of_function(*function, fields.Path("function"));
    LONGSPAN_RETURN_IF_ERROR(RequireString(of_function, "name"));
    LONGSPAN_RETURN_IF_ERROR(RequireString(of_function, "arguments"));
  }
  return absl::OkStatus();
}

absl::Status NormalizeMessage(const std::string& path, ordered_json* message) {
  if (!message->is_object()) return MustBe(path, *message, "an object with \"role\" and \"content\"");
  constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                      "assistant", "tool",      "function"};
  const RequestFields fields(*message, path);
  std::string role, ignored;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("role", &role));
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    constexpr const char* kWhat =
        "\"system\", \"developer\", \"user\", \"assistant\", \"tool\" or \"function\"";
    return fields.Find("role") == nullptr ? Missing(fields.Path("role"), kWhat)
                                          : MustBe(fields.Path("role"), (*message)["role"], kWhat);
  }
  LONGSPAN_RETURN_IF_ERROR(fields.Read("name", &ignored));
  const bool assistant = role == "assistant";
  bool optional = false;
  if (assistant) {
    LONGSPAN_RETURN_IF_ERROR(CheckToolCalls(fields));
    LONGSPAN_RETURN_IF_ERROR(fields.Read("refusal", &ignored));
    if (const ordered_json* const call = fields.Find("function_call")) {
      return MustBe(fields.Path("function_call"), *call, "absent; use \"tool_calls\"");
    }
    const ordered_json* const calls = fields.Find("tool_calls");
    optional = (calls != nullptr && !calls->empty()) || fields.Find("refusal") != nullptr;
  }
  if (role == "tool") LONGSPAN_RETURN_IF_ERROR(RequireString(fields, "tool_call_id"));
  if (role == "function") LONGSPAN_RETURN_IF_ERROR(RequireString(fields, "name"));
  LONGSPAN_RETURN_IF_ERROR(NormalizeContent(fields.Path("content"), assistant, optional, message));

  ordered_json normalized = ordered_json::object();
  auto& members = normalized.get_ref<ordered_json::object_t&>();
  for (auto& [name, value] : message->get_ref<ordered_json::object_t&>()) {
    if (name == "content" || !value.is_null()) members.emplace_back(name, std::move(value));
  }
  if (role == "developer") normalized["role"] = "system";
  if (!normalized.contains("content")) normalized["content"] = nullptr;
  if (normalized["content"].is_null() && normalized.contains("refusal")) {
    normalized["content"] = normalized["refusal"];
  }
  *message = std::move(normalized);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ordered_json> ReadConversation(const ordered_json& request) {
  const RequestFields fields(request, "");
  ordered_json conversation = ordered_json::object();
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const arguments, fields.FindObject("chat_template_kwargs"));
  if (arguments != nullptr) {
    if (arguments->size() > kMostTemplateArguments) {
      return InvalidField("chat_template_kwargs",
                          absl::StrCat("has ", arguments->size(), " members; at most ",
                                       kMostTemplateArguments, " can be given"));
    }
    for (const char* name : {"messages", "tools"}) {
      if (!arguments->contains(name)) continue;
      return InvalidField(absl::StrCat("chat_template_kwargs.", name),
                          "cannot be given here; it is a field of the request itself");
    }
    conversation = *arguments;
  }
  bool add_generation_prompt = true;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("add_generation_prompt", &add_generation_prompt));
  if (fields.Find("add_generation_prompt") != nullptr)
    conversation["add_generation_prompt"] = add_generation_prompt;

  constexpr const char* kMessages = "a list of at least one message";
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const messages, fields.FindList("messages"));
  if (messages == nullptr) return Missing("messages", kMessages);
  if (messages->empty()) return MustBe("messages", *messages, kMessages);
  ordered_json& normalized = conversation["messages"] = *messages;
  for (size_t i = 0; i < normalized.size(); ++i) {
    LONGSPAN_RETURN_IF_ERROR(NormalizeMessage(absl::StrCat("messages[", i, "]"), &normalized[i]));
  }
  return conversation;
}

}  // namespace longspan
