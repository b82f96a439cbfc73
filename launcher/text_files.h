// What users hand in: texts, token ids, and standard output to write results to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

// A whole file. Errors name it.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

// Writes a whole file, in place of what was there. Errors name it.
absl::Status WriteTextFile(const std::string& path, std::string_view text);

// Lines without their newline; a newline at the end of the text begins no further line.
std::vector<std::string_view> SplitLines(std::string_view text);

// Ids as the option --token-ids takes them: "1,2,3", or "@F" where F is a file with a JSON array or, named
// .npy, an integer array. InvalidArgument when they are no such thing or not within 32 bits; the vocabulary
// is not checked.
absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& text);

// A JSON array of ids; `origin` names it in errors.
absl::StatusOr<std::vector<int32_t>> ParseTokenIdArray(std::string_view json, const std::string& origin);

// Writes to standard output and flushes. An error when nobody takes it: a full disk, a closed pipe.
absl::Status WriteOutput(std::string_view text);

}  // namespace longspan
