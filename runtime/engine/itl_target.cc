#include "runtime/engine/itl_target.h"

#include <algorithm>

namespace longspan {

double PrefillSeconds(double itl_target_s, double decode_s, double noise, int64_t decodes, int64_t prompts) {
  if (itl_target_s == kAutoItlTarget) {
    const double crowd = static_cast<double>(prompts) / static_cast<double>(decodes);
    return (kAutoStretch - 1) * decode_s * std::max(1.0, crowd);
  }
  return std::max(0.0, itl_target_s / (1 + 2 * noise) - decode_s);
}

}  // namespace longspan
