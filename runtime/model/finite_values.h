// Whether weights as a file stores them are numbers at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/dtype.h"

namespace longspan {

// The first of `count` consecutive blocks that has a value, or in a block format a scale or minimum, which is
// NaN or infinite; of a plain format every value is a block. Data need not be aligned.
std::optional<int64_t> FirstNonFinite(DType dtype, const std::byte* blocks, int64_t count);

}  // namespace longspan
