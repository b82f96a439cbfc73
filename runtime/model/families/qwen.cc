// Qwen2 and 2.5 (arXiv 2407.10671, 2412.15115), with biases of queries, keys and values, and Qwen3 (arXiv
// 2505.09388), with a norm of each query and key head instead.
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/layer_kinds.h"
#include "runtime/model/families/rope.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

constexpr FamilyTraits kQwen2 = {.name = "qwen2", .qkv_bias = true};
constexpr FamilyTraits kQwen3 = {.name = "qwen3", .qk_norm = true};
constexpr int64_t kHeadDimOfQwen3 = 128;
constexpr double kRopeBase = 10'000.0;
constexpr int64_t kDefaultWindow = 4096;
constexpr int64_t kDefaultFullLayers = 28;

// The first max_window_layers layers see everything.
FullLayers FullFirst(int64_t count, int num_layers) {
  FullLayers is_full;
  for (int64_t layer = 0; layer < num_layers; ++layer) is_full.push_back(layer < count);
  return is_full;
}

absl::StatusOr<FamilyModel> FromGguf(const GgufFile& file, const FamilyTraits& traits) {
  GgufFieldReader fields(file, absl::StrCat(std::string(traits.name), "."));
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadGgufSettings(file, fields, traits));
  model.other_tensors = {kRopeFrequencies};
  if (const int64_t window = fields.Integer("attention.sliding_window", 0, INT64_MAX, 0); window > 0) {
    fields.Refuse("attention.sliding_window", absl::StrCat(window),
                  "the file does not say of which layers; use a Hugging Face folder");
  }
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadGgufRope(file, fields, kRopeBase, &model.config));
  GroupLayers(AllAlike(model.config.num_layers, true), 0, rope, rope, &model.config);
  return model;
}

absl::StatusOr<FamilyModel> FromFolder(const FolderConfig& folder, const FamilyTraits& traits,
                                       const FolderDefaults& defaults) {
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadFolderSettings(folder, fields, traits, defaults));
  ModelConfig& config = model.config;
  const int64_t window =
      fields.Flag("use_sliding_window", false) ? ReadWindow(folder, fields, kDefaultWindow) : 0;
  const int64_t full_layers = fields.Integer("max_window_layers", 0, INT32_MAX, kDefaultFullLayers);
  const FullLayers is_full = ReadLayerTypes(
      fields, window > 0 ? FullFirst(full_layers, config.num_layers) : AllAlike(config.num_layers, true));
  if (window == 0 && is_full != AllAlike(config.num_layers, true)) {
    fields.Refuse("layer_types", "sliding_attention without use_sliding_window",
                  "set use_sliding_window and sliding_window as the model was trained");
  }
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadFolderRope(folder, fields, kRopeBase, &config));
  GroupLayers(is_full, window, rope, rope, &config);
  return model;
}

}  // namespace

absl::StatusOr<FamilyModel> Qwen2FromGguf(const GgufFile& file) { return FromGguf(file, kQwen2); }
absl::StatusOr<FamilyModel> Qwen2FromFolder(const FolderConfig& folder) {
  return FromFolder(folder, kQwen2, {});
}

absl::StatusOr<FamilyModel> Qwen3FromGguf(const GgufFile& file) { return FromGguf(file, kQwen3); }
absl::StatusOr<FamilyModel> Qwen3FromFolder(const FolderConfig& folder) {
  return FromFolder(folder, kQwen3, {.head_dim = kHeadDimOfQwen3});
}

}  // namespace longspan
