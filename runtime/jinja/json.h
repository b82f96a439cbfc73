// JSON in and out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/jinja/value.h"

namespace longspan::jinja {

// Objects keep their order. Fails for texts that are not UTF-8 and for what is nested too deep.
Value FromJson(Meter& meter, const nlohmann::ordered_json& json);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // of one level; absent: all in one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// As Python's json.dumps. Fails for values that are not data.
std::string ToJson(Meter& meter, const Value& value, const JsonStyle& style);

}  // namespace longspan::jinja
