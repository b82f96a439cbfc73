// From JSON Schema (draft 2020-12, https://json-schema.org/specification) to an automaton. README.md lists
// the keywords.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "runtime/grammar/automaton.h"

namespace longspan {

// InvalidArgument names the place and what is wrong, not supported, or satisfied by no text.
absl::StatusOr<Automaton> CompileJsonSchema(const nlohmann::ordered_json& schema);

}  // namespace longspan
