// What Gemma 2 and Gemma 3 have in common beside their traits.
#pragma once

#include <cmath>

#include "runtime/model/field_reader.h"
#include "runtime/model/model_config.h"

namespace longspan {

// GGUF files do not hold the query scale: the 27B model alone takes it from the hidden size. It is told by
// its number of layers.
inline void SetGgufQueryScale(int layers_of_27b, ModelConfig* config) {
  if (config->num_layers != layers_of_27b) return;
  config->query_scale = static_cast<float>(
      1.0 / std::sqrt(static_cast<double>(config->hidden_size) / static_cast<double>(config->num_heads)));
}

// The query scale of a config.json.
inline float ReadQueryScale(FieldReader& fields) {
  return static_cast<float>(1.0 / std::sqrt(fields.Positive("query_pre_attn_scalar", 256.0)));
}

}  // namespace longspan
