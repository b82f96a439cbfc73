// One decode step of a model of any family in float64, over KV given as a function. For checks of very long
// contexts.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/model/model_source.h"

namespace longspan::testing {

// Key (which = 0) or value (which = 1) of one stored token; out: [head_dim].
using StoredKv = std::function<void(int64_t position, int layer, int kv_head, int which, float* out)>;

// Logits of `token` at `position`; all earlier positions are `stored`. The model's weights must be F32. The
// step's own key and value are rounded to bf16, as a bf16 cache stores them.
std::vector<double> ReferenceLogits(const ModelSource& source, int32_t token, int64_t position,
                                    const StoredKv& stored);

}  // namespace longspan::testing
