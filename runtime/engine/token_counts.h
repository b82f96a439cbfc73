// How often a sequence holds each token: what the penalties of sampling look at.
//
// Threads: one thread at a time.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"

namespace longspan {

class TokenCounts {
 public:
  void AddPrompt(int32_t token) { output_counts_.try_emplace(token, 0); }
  void AddOutput(int32_t token) { ++output_counts_[token]; }

  // Every token of prompt or output, with how often it is in the output. In no particular order.
  const absl::flat_hash_map<int32_t, int64_t>& output_counts() const { return output_counts_; }

 private:
  absl::flat_hash_map<int32_t, int64_t> output_counts_;
};

}  // namespace longspan
