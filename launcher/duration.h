// Lengths of time as users write them.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace longspan {

// Seconds of a number, perhaps with a fraction, and ms, s, m or h ("500ms", "1.5s"); without a unit it counts
// seconds. InvalidArgument when it is no such thing or below 0.
absl::StatusOr<double> ParseDuration(std::string_view text);

}  // namespace longspan
