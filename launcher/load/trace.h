// Requests that somebody's users once made: when, and how long.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longspan::load {

// A request to make.
struct PlannedRequest {
  double arrival_s = 0;  // since the beginning of the run; of no meaning in a closed loop
  int64_t input_tokens = 1;
  int64_t output_tokens = 1;
  // The prompt's content, `block_tokens` at a time: equal ids are equal tokens. What they do not cover is
  // unlike any other prompt.
  std::vector<int64_t> block_ids = {};
  int64_t block_tokens = 512;
};

// Reads either of two published formats, by the first line:
//  * JSON lines (Mooncake, FAST 2025): "timestamp" in ms, "input_length", "output_length" and perhaps
//    "hash_ids", one for each 512 tokens of the prompt;
//  * CSV (Azure LLM inference traces) with the columns TIMESTAMP (2023-11-16 18:15:46.68), ContextTokens and
//    GeneratedTokens.
// In order of arrival, the first at 0. Lengths of 0 become 1. Errors name `origin`, the line and what is
// wrong.
absl::StatusOr<std::vector<PlannedRequest>> ParseTrace(std::string_view text, const std::string& origin);

// Multiplies arrival times (0.5 is twice the load) and lengths; equal prefixes stay equal.
void ScaleTrace(double time, double lengths, std::vector<PlannedRequest>* trace);

}  // namespace longspan::load
