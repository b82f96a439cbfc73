// A short name for a model's weights and configuration, to tell whether two files hold the same.
#pragma once

#include <string>

#include "runtime/model/model_source.h"

namespace longspan {

// 32 hexadecimal digits: XXH3-128 over what the configuration says, every weight's name, type and shape, and
// kilobytes from its beginning, middle and end. Two files that differ elsewhere only (a few weights were
// edited by hand) share it; those of different models, training runs or quantisations do not. Reads about 12
// KiB of each weight.
std::string ModelFingerprint(const ModelSource& source);

}  // namespace longspan
