// How much of a step prompts may take while others decode: the gap between two tokens of a running request
// (inter-token latency) against the time until the first token of a new one.
#pragma once

#include <cstdint>
#include <limits>

namespace longspan {

// A target is a gap in seconds, or one of these.
inline constexpr double kNoItlTarget = std::numeric_limits<double>::infinity();
// A step takes kAutoStretch times as long as its decodes alone; longer when more requests wait for their
// first token than for their next one, so that a crowd of new requests is not let in one by one.
inline constexpr double kAutoItlTarget = 0;
inline constexpr double kAutoStretch = 1.45;

// Seconds that chunks of prompts may add to a step whose `decodes` (at least one) alone take decode_s, while
// the prompts of `prompts` requests are computed. `noise`: the relative error of such times; two of it are
// kept free below an absolute target. 0 when the decodes take all of it.
double PrefillSeconds(double itl_target_s, double decode_s, double noise, int64_t decodes, int64_t prompts);

}  // namespace longspan
