#include "runtime/api/tool_call_prompt.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "runtime/api/json_writer.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

std::string TextOf(const ordered_json& message) {
  const auto content = message.find("content");
  if (content == message.end()) return "";
  if (content->is_string()) return content->get<std::string>();
  std::string text;
  for (const ordered_json& part : *content) text += part.value("text", "");
  return text;
}

void AppendLine(const std::string& line, std::string* text) {
  absl::StrAppend(text, text->empty() ? "" : "\n", line);
}

std::string Instructions(const ordered_json& tools) {
  std::string text = "You can call these functions, each described by a JSON object:";
  for (const ordered_json& tool : tools) AppendLine(tool.at("function").dump(), &text);
  AppendLine(
      "To call a function, answer with JSON and nothing else: "
      "{\"name\": the function's name, \"arguments\": an object of its arguments}",
      &text);
  return text;
}

// Remembers the functions' names by the calls' ids.
std::string CallsAsText(const ordered_json& message, absl::flat_hash_map<std::string, std::string>* names) {
  std::string text = TextOf(message);
  for (const ordered_json& call : message.at("tool_calls")) {
    const ordered_json& function = call.at("function");
    const auto name = function.at("name").get<std::string>();
    (*names)[call.at("id").get<std::string>()] = name;
    AppendLine(absl::StrCat("{\"name\": ", JsonString(name),
                            ", \"arguments\": ", function.at("arguments").get<std::string>(), "}"),
               &text);
  }
  return text;
}

}  // namespace

bool TemplateKnowsTools(std::string_view chat_template) {
  return chat_template.find("tools") != std::string_view::npos;
}

ordered_json TellTools(ordered_json conversation) {
  absl::flat_hash_map<std::string, std::string> names;
  ordered_json messages = ordered_json::array();
  bool after_result = false;  // many templates want users and assistants to take turns
  for (ordered_json& message : conversation["messages"]) {
    const auto role = message.at("role").get<std::string>();
    const bool result = role == "tool" || role == "function";
    if (result) {
      const std::string name =
          role == "function" ? message.value("name", "") : names[message.value("tool_call_id", "")];
      message = {{"role", "user"}, {"content", absl::StrCat("Result of ", name, ": ", TextOf(message))}};
    } else if (role == "assistant" && message.contains("tool_calls")) {
      message = {{"role", "assistant"}, {"content", CallsAsText(message, &names)}};
    }
    if (after_result && message["role"] == "user") {
      ordered_json& last = messages.back();
      last["content"] = absl::StrCat(TextOf(last), "\n", TextOf(message));
    } else {
      messages.push_back(std::move(message));
    }
    after_result = messages.back()["role"] == "user" && (result || after_result);
  }

  if (conversation.contains("tools")) {
    const std::string instructions = Instructions(conversation["tools"]);
    ordered_json& first = messages.front();
    if (first["role"] == "assistant") {
      messages.insert(messages.begin(), ordered_json{{"role", "user"}, {"content", instructions}});
    } else {
      first["content"] = absl::StrCat(instructions, "\n\n", TextOf(first));
    }
    conversation.erase("tools");
  }
  conversation["messages"] = std::move(messages);
  return conversation;
}

}  // namespace longspan
