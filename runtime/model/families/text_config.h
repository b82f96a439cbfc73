// The text model inside a model of texts and images: its settings lie in text_config of config.json, and its
// tensors among those of the image encoder.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/model/tensor_file.h"

namespace longspan {

// Moves the settings of text_config to the top when model_type is gemma3 or mistral3. Returns whether it did.
bool UseTextConfig(nlohmann::json* config);

// Drops the image encoder's tensors and gives the others the names that they have in a model of text alone.
void KeepTextTensors(std::vector<TensorEntry>* tensors);

}  // namespace longspan
