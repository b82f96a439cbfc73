// Gemma 3 (arXiv 2503.19786), text alone: sliding and full layers, each kind with its own RoPE.
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/gemma.h"
#include "runtime/model/families/layer_kinds.h"
#include "runtime/model/families/rope.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

constexpr FamilyTraits kTraits = {.name = "gemma3",
                                  .activation = ActivationKind::kGeluTanh,
                                  .qk_norm = true,
                                  .post_norms = true,
                                  .scaled_embedding = true,
                                  .logit_cap = true,
                                  .folder_norm_offset = 1.0f};
constexpr double kFullBase = 1'000'000.0;
constexpr double kSlidingBase = 10'000.0;
constexpr int64_t kDefaultPattern = 6;
constexpr int64_t kDefaultWindow = 4096;
constexpr int kLayersOf27B = 62;
constexpr FolderDefaults kDefaults = {.heads = 8,
                                      .kv_heads = 4,
                                      .head_dim = 256,
                                      .vocab_size = 262'208,
                                      .context = 131'072,
                                      .norm_epsilon = 1e-6,
                                      .tied_embedding = true};

// The RoPE settings of one kind of layer. Newer files hold an object for each kind; the older ones' single
// object is about full layers alone.
absl::StatusOr<RopeConfig> ReadLayerRope(const FolderConfig& folder, bool full, double base,
                                         ModelConfig* config) {
  LONGSPAN_ASSIGN_OR_RETURN(RopeObject object, FindRopeObject(folder));
  const char* kind = full ? "full_attention" : "sliding_attention";
  const auto nested = object.json->find(kind);
  if (nested != object.json->end() && nested->is_object()) {
    return ReadRope(folder, {&*nested, absl::StrCat(object.place, kind, ".")}, base, config);
  }
  if (full) return ReadRope(folder, object, base, config);
  RopeConfig rope;
  rope.base = base;
  rope.dim = config->head_dim;
  return rope;
}

}  // namespace

absl::StatusOr<FamilyModel> Gemma3FromGguf(const GgufFile& file) {
  GgufFieldReader fields(file, "gemma3.");
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadGgufSettings(file, fields, kTraits));
  ModelConfig& config = model.config;
  if (fields.Has("final_logit_softcapping")) {
    config.logit_cap = static_cast<float>(fields.Positive("final_logit_softcapping"));
  }
  RopeConfig sliding;
  sliding.dim = config.head_dim;
  sliding.base = fields.Positive("rope.freq_base_swa", kSlidingBase);
  const int64_t pattern = fields.Integer("attention.sliding_window_pattern", 1, INT32_MAX, kDefaultPattern);
  // Left out where every layer is full.
  const int64_t window = fields.Integer("attention.sliding_window", 0, INT32_MAX, 0);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig full, ReadGgufRope(file, fields, kFullBase, &config));
  SetGgufQueryScale(kLayersOf27B, &config);
  GroupLayers(window == 0 ? AllAlike(config.num_layers, true) : FullEvery(pattern, config.num_layers), window,
              full, sliding, &config);
  return model;
}

absl::StatusOr<FamilyModel> Gemma3FromFolder(const FolderConfig& folder) {
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadFolderSettings(folder, fields, kTraits, kDefaults));
  ModelConfig& config = model.config;
  if (fields.Has("final_logit_softcapping")) {
    config.logit_cap = static_cast<float>(fields.Positive("final_logit_softcapping"));
  }
  config.query_scale = ReadQueryScale(fields);
  const int64_t fallback = fields.Integer("_sliding_window_pattern", 1, INT32_MAX, kDefaultPattern);
  const int64_t pattern = fields.Integer("sliding_window_pattern", 1, INT32_MAX, fallback);
  const int64_t window = ReadWindow(folder, fields, kDefaultWindow);
  const double full_base = fields.Positive("rope_theta", kFullBase);
  const double sliding_base = fields.Positive("rope_local_base_freq", kSlidingBase);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  const FullLayers is_full = ReadLayerTypes(fields, FullEvery(pattern, config.num_layers));
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig full, ReadLayerRope(folder, true, full_base, &config));
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig sliding, ReadLayerRope(folder, false, sliding_base, &config));
  GroupLayers(is_full, window, full, sliding, &config);
  return model;
}

}  // namespace longspan
