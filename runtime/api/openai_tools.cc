#include "runtime/api/openai_tools.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "runtime/api/openai_error.h"
#include "runtime/api/request_fields.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostTools = 128;  // as OpenAI's API
constexpr size_t kLongestName = 64;

bool IsName(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= kLongestName && std::all_of(name.begin(), name.end(), fits);
}

// Object `name` in an object of type "function" must be there.
absl::StatusOr<RequestFields> RequireFunction(const ordered_json& object, const std::string& path) {
  if (!object.is_object()) return MustBe(path, object, "an object with \"type\" and \"function\"");
  const RequestFields fields(object, path);
  std::string type;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("type", &type));
  if (fields.Find("type") == nullptr) return Missing(fields.Path("type"), "\"function\"");
  if (type != "function") return MustBe(fields.Path("type"), object["type"], "\"function\"");
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const function, fields.FindObject("function"));
  if (function == nullptr) return Missing(fields.Path("function"), "an object with a \"name\"");
  return RequestFields(*function, fields.Path("function"));
}

absl::StatusOr<std::string> ReadFunctionName(const RequestFields& function) {
  constexpr const char* kWhat = "1 to 64 letters, digits, underscores, hyphens and dots";
  std::string name;
  LONGSPAN_RETURN_IF_ERROR(function.Read("name", &name));
  const ordered_json* const given = function.Find("name");
  if (given == nullptr) return Missing(function.Path("name"), kWhat);
  if (!IsName(name)) return MustBe(function.Path("name"), *given, kWhat);
  return name;
}

absl::StatusOr<ToolUse::Function> ReadTool(const ordered_json& tool, const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const RequestFields fields, RequireFunction(tool, path));
  ToolUse::Function function;
  LONGSPAN_ASSIGN_OR_RETURN(function.name, ReadFunctionName(fields));
  std::string description;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("description", &description));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("strict", &function.strict));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const parameters, fields.FindObject("parameters"));
  function.parameters = parameters != nullptr
                            ? *parameters
                            : ordered_json{{"type", "object"}, {"properties", ordered_json::object()}};
  return function;
}

// The function that `object` names, which must be one of `tools`.
absl::StatusOr<ToolUse::Function> ChooseFunction(const ordered_json& object, const std::string& path,
                                                 const ToolUse& tools) {
  LONGSPAN_ASSIGN_OR_RETURN(const RequestFields fields, RequireFunction(object, path));
  LONGSPAN_ASSIGN_OR_RETURN(const std::string name, ReadFunctionName(fields));
  std::vector<std::string> names;
  for (const ToolUse::Function& function : tools.functions) {
    if (function.name == name) return function;
    names.push_back(function.name);
  }
  return MustBe(fields.Path("name"), *fields.Find("name"),
                names.empty() ? "in \"tools\", and there are none"
                              : absl::StrCat("one of \"tools\": ", absl::StrJoin(names, ", ")));
}

absl::Status ReadMode(const std::string& path, const ordered_json& mode, ToolUse* tools) {
  if (mode == "auto") {
    tools->choice = ToolUse::Choice::kAuto;
  } else if (mode == "required") {
    tools->choice = ToolUse::Choice::kRequired;
  } else {
    return MustBe(path, mode, "\"auto\" or \"required\"");
  }
  return absl::OkStatus();
}

// {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}
absl::Status ReadAllowedTools(const RequestFields& choice, ToolUse* tools) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const allowed, choice.FindObject("allowed_tools"));
  if (allowed == nullptr)
    return Missing(choice.Path("allowed_tools"), "an object with \"mode\" and \"tools\"");
  const RequestFields fields(*allowed, choice.Path("allowed_tools"));
  const ordered_json* const mode = fields.Find("mode");
  if (mode == nullptr) return Missing(fields.Path("mode"), "\"auto\" or \"required\"");
  LONGSPAN_RETURN_IF_ERROR(ReadMode(fields.Path("mode"), *mode, tools));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const list, fields.FindList("tools"));
  if (list == nullptr || list->empty()) return Missing(fields.Path("tools"), "a list of at least one tool");
  std::vector<ToolUse::Function> functions;
  for (size_t i = 0; i < list->size(); ++i) {
    LONGSPAN_ASSIGN_OR_RETURN(
        functions.emplace_back(),
        ChooseFunction((*list)[i], absl::StrCat(fields.Path("tools"), "[", i, "]"), *tools));
  }
  tools->functions = std::move(functions);
  return absl::OkStatus();
}

absl::Status ReadToolChoice(const ordered_json& choice, ToolUse* tools) {
  constexpr const char* kPath = "tool_choice";
  constexpr const char* kWhat =
      "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}";
  if (choice == "none") {
    tools->functions.clear();
    return absl::OkStatus();
  }
  if (choice.is_string()) {
    if (choice == "auto") return absl::OkStatus();
    if (choice != "required") return MustBe(kPath, choice, kWhat);
    if (tools->functions.empty())
      return InvalidField(kPath, "is \"required\", but the request has no \"tools\"");
    tools->choice = ToolUse::Choice::kRequired;
    return absl::OkStatus();
  }
  if (!choice.is_object()) return MustBe(kPath, choice, kWhat);
  const RequestFields fields(choice, kPath);
  const ordered_json* const type = fields.Find("type");
  if (type != nullptr && *type == "allowed_tools") return ReadAllowedTools(fields, tools);
  LONGSPAN_ASSIGN_OR_RETURN(ToolUse::Function function, ChooseFunction(choice, kPath, *tools));
  tools->functions.assign(1, std::move(function));
  tools->choice = ToolUse::Choice::kNamed;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ToolUse> ReadToolUse(const ordered_json& request) {
  const RequestFields fields(request, "");
  for (const char* name : {"functions", "function_call"}) {
    if (fields.Find(name) != nullptr) {
      return InvalidField(name, "is not supported; use \"tools\" and \"tool_choice\"");
    }
  }
  ToolUse tools;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("parallel_tool_calls", &tools.parallel));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const list, fields.FindList("tools"));
  if (list != nullptr) {
    if (list->size() > kMostTools) {
      return InvalidField(
          "tools", absl::StrCat("has ", list->size(), " members; at most ", kMostTools, " can be given"));
    }
    for (size_t i = 0; i < list->size(); ++i) {
      LONGSPAN_ASSIGN_OR_RETURN(tools.functions.emplace_back(),
                                ReadTool((*list)[i], absl::StrCat("tools[", i, "]")));
    }
  }
  if (!tools.functions.empty()) tools.choice = ToolUse::Choice::kAuto;
  if (const ordered_json* const choice = fields.Find("tool_choice")) {
    LONGSPAN_RETURN_IF_ERROR(ReadToolChoice(*choice, &tools));
  }
  if (tools.functions.empty()) tools.choice = ToolUse::Choice::kNone;
  return tools;
}

absl::StatusOr<ResponseFormat> ReadResponseFormat(const ordered_json& request) {
  ResponseFormat format;
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const object,
                            RequestFields(request, "").FindObject("response_format"));
  if (object == nullptr) return format;
  constexpr const char* kTypes = "\"text\", \"json_object\" or \"json_schema\"";
  const RequestFields fields(*object, "response_format");
  const ordered_json* const type = fields.Find("type");
  if (type == nullptr) return Missing(fields.Path("type"), kTypes);
  if (*type == "text") return format;
  if (*type == "json_object") {
    format.kind = ResponseFormat::Kind::kJsonObject;
    return format;
  }
  if (*type != "json_schema") return MustBe(fields.Path("type"), *type, kTypes);

  format.kind = ResponseFormat::Kind::kJsonSchema;
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const named, fields.FindObject("json_schema"));
  if (named == nullptr) return Missing(fields.Path("json_schema"), "an object with \"name\" and \"schema\"");
  const RequestFields of_schema(*named, fields.Path("json_schema"));
  if (of_schema.Find("name") != nullptr) LONGSPAN_RETURN_IF_ERROR(ReadFunctionName(of_schema).status());
  bool strict = false;  // every schema is kept to
  std::string description;
  LONGSPAN_RETURN_IF_ERROR(of_schema.Read("strict", &strict));
  LONGSPAN_RETURN_IF_ERROR(of_schema.Read("description", &description));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const schema, of_schema.FindObject("schema"));
  if (schema == nullptr) return Missing(of_schema.Path("schema"), "a JSON schema, an object");
  format.schema = *schema;
  return format;
}

}  // namespace longspan
