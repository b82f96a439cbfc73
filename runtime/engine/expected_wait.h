// When requests that wait will start, from what those before them still have to do. A pure function.
#pragma once

#include <cstdint>
#include <span>

namespace longspan {

// What a request still has to do, and what it holds or will hold until then.
struct RemainingWork {
  int64_t prefill_tokens = 0;
  double output_tokens = 0;  // expected
  int64_t pages = 0;         // on the rank where it needs most
};

struct ServiceRates {
  double prefill_tokens_per_s = 0;
  double decode_step_s = 0;
};

struct FreeCapacity {
  int64_t slots = 0;
  int64_t pages = 0;  // on the rank that has least
};

// Seconds until the last of `waiting`, which start in this order, has started beside `running`: prompts are
// computed one after the other, outputs side by side, and each frees what it holds when it ends. The rates
// are positive.
double ExpectedStart(std::span<const RemainingWork> running, std::span<const RemainingWork> waiting,
                     FreeCapacity free, const ServiceRates& rates);

}  // namespace longspan
