// How a command ends: 0, 1 for a failure, 2 for wrong usage, 128 plus the signal when interrupted.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longspan {

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// An InvalidArgument error that ends the program with kExitUsage. Other errors end it with kExitFailure.
absl::Status UsageError(std::string_view message);
bool IsUsageError(const absl::Status& status);

inline int ExitCode(const absl::Status& status) {
  return status.ok() ? 0 : IsUsageError(status) ? kExitUsage : kExitFailure;
}

// As one line, so that a line of standard error is one event.
std::string OneLine(std::string text);
std::string OneLineMessage(const absl::Status& status);

// A status as a blob that another rank can read; parsing what is no such blob gives an Internal error.
std::string SerializeStatus(const absl::Status& status);
absl::Status ParseStatus(std::string_view blob);

}  // namespace longspan
