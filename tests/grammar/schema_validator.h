// Whether a value follows a JSON schema, worked out on the value: knows nothing of automata.
#pragma once

#include <nlohmann/json.hpp>

namespace longspan {

// The keywords that runtime/grammar supports, but for "format". `root`: what "$ref" points into.
bool FollowsSchema(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema,
                   const nlohmann::ordered_json& root);

}  // namespace longspan
