// Gemma 2 (arXiv 2408.00118): soft caps of attention scores and logits, norms before and after each block,
// every other layer sliding.
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/gemma.h"
#include "runtime/model/families/layer_kinds.h"
#include "runtime/model/families/rope.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

constexpr FamilyTraits kTraits = {.name = "gemma2",
                                  .activation = ActivationKind::kGeluTanh,
                                  .post_norms = true,
                                  .scaled_embedding = true,
                                  .score_cap = true,
                                  .logit_cap = true,
                                  .folder_norm_offset = 1.0f};
constexpr double kRopeBase = 10'000.0;
constexpr int64_t kDefaultWindow = 4096;
constexpr int64_t kDefaultPattern = 2;
constexpr double kDefaultScoreCap = 50.0;
constexpr double kDefaultLogitCap = 30.0;
constexpr int kLayersOf27B = 46;
constexpr FolderDefaults kDefaults = {.head_dim = 256, .tied_embedding = true};

float Cap(const FolderConfig& folder, FieldReader& fields, const char* key, double fallback) {
  return IsNull(folder, key) ? 0.0f : static_cast<float>(fields.Positive(key, fallback));
}

}  // namespace

absl::StatusOr<FamilyModel> Gemma2FromGguf(const GgufFile& file) {
  GgufFieldReader fields(file, "gemma2.");
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadGgufSettings(file, fields, kTraits));
  ModelConfig& config = model.config;
  config.score_cap = static_cast<float>(fields.Positive("attn_logit_softcapping", kDefaultScoreCap));
  config.logit_cap = static_cast<float>(fields.Positive("final_logit_softcapping", kDefaultLogitCap));
  const int64_t window = fields.Integer("attention.sliding_window", 1, INT32_MAX, kDefaultWindow);
  const int64_t pattern = fields.Integer("attention.sliding_window_pattern", 1, INT32_MAX, kDefaultPattern);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadGgufRope(file, fields, kRopeBase, &config));
  SetGgufQueryScale(kLayersOf27B, &config);
  GroupLayers(FullEvery(pattern, config.num_layers), window, rope, rope, &config);
  return model;
}

absl::StatusOr<FamilyModel> Gemma2FromFolder(const FolderConfig& folder) {
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadFolderSettings(folder, fields, kTraits, kDefaults));
  ModelConfig& config = model.config;
  config.score_cap = Cap(folder, fields, "attn_logit_softcapping", kDefaultScoreCap);
  config.logit_cap = Cap(folder, fields, "final_logit_softcapping", kDefaultLogitCap);
  config.query_scale = ReadQueryScale(fields);
  const FullLayers is_full = ReadLayerTypes(fields, FullEvery(kDefaultPattern, config.num_layers));
  const int64_t window = ReadWindow(folder, fields, kDefaultWindow);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadFolderRope(folder, fields, kRopeBase, &config));
  GroupLayers(is_full, window, rope, rope, &config);
  return model;
}

}  // namespace longspan
