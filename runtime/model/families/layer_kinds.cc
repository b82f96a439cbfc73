#include "runtime/model/families/layer_kinds.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/model/families/settings.h"

namespace longspan {

FullLayers AllAlike(int num_layers, bool full) { return FullLayers(static_cast<size_t>(num_layers), full); }

FullLayers FullEvery(int64_t pattern, int num_layers) {
  FullLayers is_full;
  for (int64_t layer = 0; layer < num_layers; ++layer) is_full.push_back((layer + 1) % pattern == 0);
  return is_full;
}

FullLayers ReadLayerTypes(FieldReader& fields, FullLayers fallback) {
  if (!fields.Has("layer_types")) return fallback;
  FullLayers is_full;
  for (const std::string& type : fields.Texts("layer_types")) {
    if (type != "full_attention" && type != "sliding_attention") {
      fields.Refuse("layer_types", type, "layers are full_attention or sliding_attention");
    }
    is_full.push_back(type == "full_attention");
  }
  if (is_full.size() != fallback.size()) {
    fields.Invalid("layer_types", absl::StrCat("has ", is_full.size(), " entries but there are ",
                                               fallback.size(), " layers"));
  }
  return is_full;
}

int64_t ReadWindow(const FolderConfig& folder, FieldReader& fields, int64_t fallback) {
  return IsNull(folder, "sliding_window") ? 0 : fields.Integer("sliding_window", 1, INT32_MAX, fallback);
}

void GroupLayers(const FullLayers& is_full, int64_t window, const RopeConfig& full, const RopeConfig& sliding,
                 ModelConfig* config) {
  config->groups.clear();
  config->layer_group.clear();
  int group_of_kind[2] = {-1, -1};
  for (size_t layer = 0; layer < is_full.size(); ++layer) {
    int& group = group_of_kind[is_full[layer] ? 1 : 0];
    if (group < 0) {
      group = static_cast<int>(config->groups.size());
      config->groups.push_back(
          {.window = is_full[layer] ? 0 : window, .rope = is_full[layer] ? full : sliding, .layers = {}});
    }
    config->groups[static_cast<size_t>(group)].layers.push_back(static_cast<int>(layer));
    config->layer_group.push_back(group);
  }
}

}  // namespace longspan
