// What a request must satisfy before it is queued. Pure functions.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/engine/request.h"

namespace longspan {

struct RequestLimits {
  int64_t vocab_size = 0;
  int64_t max_context = 0;         // prompt plus output
  int64_t store_tokens = 0;        // the longest sequence that the empty KV store can hold
  int64_t default_max_tokens = 0;  // output of a request that names none, capped by the context left
};

// The most output tokens the request may get. InvalidArgument names what is wrong, and for a request that is
// too long its length, the limit and the largest output that would fit.
absl::StatusOr<int64_t> CheckRequest(const Request& request, const RequestLimits& limits);

}  // namespace longspan
