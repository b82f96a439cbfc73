// Which layers see the whole context and which a sliding window.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/model/families/family.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/model_config.h"

namespace longspan {

// By layer, whether it sees everything.
using FullLayers = std::vector<bool>;

FullLayers AllAlike(int num_layers, bool full);
// Of `pattern` layers the last is full.
FullLayers FullEvery(int64_t pattern, int num_layers);
// As layer_types of config.json lists them, else `fallback`. Kinds that are not known are refused.
FullLayers ReadLayerTypes(FieldReader& fields, FullLayers fallback);

// sliding_window of config.json, `fallback` when it is absent, and 0 for none when it is null.
int64_t ReadWindow(const FolderConfig& folder, FieldReader& fields, int64_t fallback);

// Fills groups and layer_group: full layers with `full`, others with the last `window` positions and
// `sliding`.
void GroupLayers(const FullLayers& is_full, int64_t window, const RopeConfig& full, const RopeConfig& sliding,
                 ModelConfig* config);

}  // namespace longspan
