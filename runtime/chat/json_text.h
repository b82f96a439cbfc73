// JSON that anybody may have written.
#pragma once

#include <cstdint>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"

namespace longspan {

inline constexpr int kMostNestedJson = 64;           // objects and lists within each other
inline constexpr int64_t kMostJsonValues = 1 << 21;  // each takes up to a hundred bytes of memory

// In time and memory that grow with the text alone. Members keep their order; of those with the same name the
// last one counts. InvalidArgument says what is wrong and where, to be read after the name of the text: "is
// not valid JSON: line 1, column 5".
absl::StatusOr<nlohmann::ordered_json> ParseJsonText(std::string_view text);

}  // namespace longspan
