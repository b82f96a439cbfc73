// JSON files of a model folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longspan {

// Parses one JSON object. `origin` names the text in errors: not JSON, not an object, a key that appears
// twice in the object itself, objects and lists nested more than a hundred deep.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& origin);

absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

}  // namespace longspan
