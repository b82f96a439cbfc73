// The names that model files give to the weights.
#pragma once

#include <span>
#include <string_view>

#include "runtime/model/model_source.h"

namespace longspan {

struct WeightName {
  WeightRole role;
  std::string_view name;  // of a layer's weight: what follows the layer's number
};

struct WeightNames {
  std::string_view layer_prefix;  // as "blk.": layer 3's weights are named "blk.3." and then the name
  std::span<const WeightName> names;
};

// What llama.cpp's tools call the weights, in every family.
WeightNames GgufWeightNames();

// Hugging Face's names where a layer has two norms, before attention and before the FFN; and where it has
// four, the others after each of them.
WeightNames FolderWeightNames();
WeightNames FolderWeightNamesWithPostNorms();

}  // namespace longspan
