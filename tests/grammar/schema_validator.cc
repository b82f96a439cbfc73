#include "tests/grammar/schema_validator.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

bool HasType(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() || (value.is_number() && std::floor(value.get<double>()) == value);
  }
  return type == (value.is_number() ? "number" : value.type_name());
}

std::wstring Characters(const std::string& text) {
  std::wstring characters;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    characters.push_back(static_cast<wchar_t>(step.code));
    at += step.length;
  }
  return characters;
}

bool ObjectFollows(const Json& value, const Json& schema, const Json& root) {
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return false;
  }
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [name, member] : value.items()) {
    const Json& expected =
        properties.contains(name) ? properties[name] : schema.value("additionalProperties", Json(true));
    if (!FollowsSchema(member, expected, root)) return false;
  }
  return true;
}

bool ArrayFollows(const Json& value, const Json& schema, const Json& root) {
  if (value.size() < schema.value("minItems", size_t{0})) return false;
  if (value.size() > schema.value("maxItems", value.size())) return false;
  const Json first = schema.value("prefixItems", Json::array());
  for (size_t i = 0; i < value.size(); ++i) {
    const Json item = i < first.size() ? first[i] : schema.value("items", Json(true));
    if (!FollowsSchema(value[i], item, root)) return false;
  }
  return true;
}

bool StringFollows(const std::wstring& value, const Json& schema) {
  if (value.size() < schema.value("minLength", size_t{0})) return false;
  if (value.size() > schema.value("maxLength", value.size())) return false;
  if (!schema.contains("pattern")) return true;
  return std::regex_search(value, std::wregex(Characters(schema["pattern"].get<std::string>())));
}

bool NumberFollows(double value, const Json& schema) {
  if (value < schema.value("minimum", value) || value > schema.value("maximum", value)) return false;
  if (schema.contains("exclusiveMinimum") && value <= schema["exclusiveMinimum"]) return false;
  if (schema.contains("exclusiveMaximum") && value >= schema["exclusiveMaximum"]) return false;
  return std::fmod(value, schema.value("multipleOf", value == 0 ? 1.0 : value)) == 0;
}

}  // namespace

bool FollowsSchema(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("$ref")) {
    return FollowsSchema(value, root[Json::json_pointer(schema["$ref"].get<std::string>().substr(1))], root);
  }
  const auto follows = [&](const Json& other) { return FollowsSchema(value, other, root); };
  if (schema.contains("anyOf")) return std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(), follows);
  if (schema.contains("const") && value != schema["const"]) return false;
  if (schema.contains("enum")) {
    const Json& values = schema["enum"];
    if (std::find(values.begin(), values.end(), value) == values.end()) return false;
  }
  if (schema.contains("type")) {
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    if (std::none_of(types.begin(), types.end(), [&](const Json& type) { return HasType(value, type); })) {
      return false;
    }
  }
  if (value.is_object()) return ObjectFollows(value, schema, root);
  if (value.is_array()) return ArrayFollows(value, schema, root);
  if (value.is_string()) return StringFollows(Characters(value.get<std::string>()), schema);
  if (value.is_number()) return NumberFollows(value.get<double>(), schema);
  return true;
}

}  // namespace longspan
