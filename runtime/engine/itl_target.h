// The target for the gap between two tokens of a running request (inter-token latency), which prompts that
// are computed in the same steps stretch: a time in seconds, or one of these.
#pragma once

#include <limits>

namespace longspan {

inline constexpr double kNoItlTarget = std::numeric_limits<double>::infinity();
// By what the machine needs: less than one and a half times the gap without prompts, prefill_pacer.h.
inline constexpr double kAutoItlTarget = 0;

}  // namespace longspan
