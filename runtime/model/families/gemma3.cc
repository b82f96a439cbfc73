// Gemma 3 (arXiv 2503.19786), text alone: sliding and full layers, each kind with its own RoPE.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/rope.h"

namespace longspan {
namespace {

constexpr double kFullBase = 1'000'000.0;
constexpr double kSlidingBase = 10'000.0;
constexpr int64_t kDefaultPattern = 6;  // of so many layers the last is full
constexpr int kLayersOf27B = 62;
constexpr int64_t kDefaultHeadDim = 256;
constexpr std::string_view kFull = "full_attention";
constexpr std::string_view kSliding = "sliding_attention";

constexpr WeightName kFolderNames[] = {
    {WeightRole::kEmbedding, "model.embed_tokens.weight"},
    {WeightRole::kFinalNorm, "model.norm.weight"},
    {WeightRole::kOutput, "lm_head.weight"},
    {WeightRole::kAttentionNorm, "input_layernorm.weight"},
    {WeightRole::kQuery, "self_attn.q_proj.weight"},
    {WeightRole::kKey, "self_attn.k_proj.weight"},
    {WeightRole::kValue, "self_attn.v_proj.weight"},
    {WeightRole::kQueryNorm, "self_attn.q_norm.weight"},
    {WeightRole::kKeyNorm, "self_attn.k_norm.weight"},
    {WeightRole::kAttentionOutput, "self_attn.o_proj.weight"},
    {WeightRole::kPostAttentionNorm, "post_attention_layernorm.weight"},
    {WeightRole::kFfnNorm, "pre_feedforward_layernorm.weight"},
    {WeightRole::kGate, "mlp.gate_proj.weight"},
    {WeightRole::kUp, "mlp.up_proj.weight"},
    {WeightRole::kDown, "mlp.down_proj.weight"},
    {WeightRole::kPostFfnNorm, "post_feedforward_layernorm.weight"},
};

void SetCommon(double query_pre_scale, ModelConfig* config) {
  config->family = "gemma3";
  config->activation = ActivationKind::kGeluTanh;
  config->qk_norm = true;
  config->post_norms = true;
  config->embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(config->hidden_size)));
  config->query_scale = static_cast<float>(1.0 / std::sqrt(query_pre_scale));
}

std::vector<bool> FullEvery(int64_t pattern, int num_layers) {
  std::vector<bool> is_full;
  for (int64_t layer = 0; layer < num_layers; ++layer) is_full.push_back((layer + 1) % pattern == 0);
  return is_full;
}

// Which layers of a folder are full: as layer_types lists them, else every sliding_window_pattern-th.
std::vector<bool> ReadLayerTypes(FieldReader& fields, int num_layers) {
  if (!fields.Has("layer_types")) {
    const int64_t fallback = fields.Integer("_sliding_window_pattern", 1, INT32_MAX, kDefaultPattern);
    const int64_t pattern = fields.Integer("sliding_window_pattern", 1, INT32_MAX, fallback);
    return fields.status().ok() ? FullEvery(pattern, num_layers) : std::vector<bool>();
  }
  std::vector<bool> is_full;
  for (const std::string& type : fields.Texts("layer_types")) {
    if (type != kFull && type != kSliding) {
      fields.Refuse("layer_types", type, "layers are full_attention or sliding_attention");
    }
    is_full.push_back(type == kFull);
  }
  if (is_full.size() != static_cast<size_t>(num_layers)) {
    fields.Invalid("layer_types",
                   absl::StrCat("has ", is_full.size(), " entries but there are ", num_layers, " layers"));
  }
  return is_full;
}

// The RoPE settings of one kind of layer. Newer files hold an object for each kind; the older ones' single
// object is about full layers alone.
absl::StatusOr<RopeConfig> ReadLayerRope(const FolderConfig& folder, std::string_view kind, double base,
                                         int dim) {
  std::string place;
  LONGSPAN_ASSIGN_OR_RETURN(const nlohmann::json* object, FindRopeObject(folder, &place));
  const auto nested = object->find(std::string(kind));
  if (nested != object->end() && nested->is_object()) {
    return ReadRope(*nested, folder.config_path(), absl::StrCat(place, std::string(kind), "."), base, dim);
  }
  if (kind == kFull) return ReadRope(*object, folder.config_path(), place, base, dim);
  RopeConfig rope;
  rope.base = base;
  rope.dim = dim;
  return rope;
}

}  // namespace

absl::StatusOr<FamilyModel> Gemma3FromGguf(const GgufFile& file) {
  FamilyModel model;
  ModelConfig& config = model.config;
  model.weight_names = GgufWeightNames();
  GgufFieldReader fields(file, "gemma3.");
  LONGSPAN_RETURN_IF_ERROR(ReadGgufShape(file, fields, &config));
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (fields.Has(key)) fields.Refuse(key, "set", "use a model without soft-capping");
  }
  const RopeConfig full = ReadGgufRope(fields, kFullBase, config.head_dim);
  RopeConfig sliding;
  sliding.dim = config.head_dim;
  sliding.base = fields.Positive("rope.freq_base_swa", kSlidingBase);
  const int64_t pattern = fields.Integer("attention.sliding_window_pattern", 1, INT32_MAX, kDefaultPattern);
  const int64_t window = fields.Integer("attention.sliding_window", 1, INT32_MAX);
  LONGSPAN_RETURN_IF_ERROR(fields.status());

  // The file does not hold the scale: the 27B model alone takes it from the hidden size.
  SetCommon(config.num_layers == kLayersOf27B
                ? static_cast<double>(config.hidden_size) / static_cast<double>(config.num_heads)
                : static_cast<double>(config.head_dim),
            &config);
  GroupLayers(FullEvery(pattern, config.num_layers), window, full, sliding, &config);
  return model;
}

absl::StatusOr<FamilyModel> Gemma3FromFolder(const FolderConfig& folder) {
  FamilyModel model;
  ModelConfig& config = model.config;
  model.weight_names = {"model.layers.", kFolderNames};
  model.other_tensors = {".rotary_emb.inv_freq"};
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_RETURN_IF_ERROR(ReadFolderShape(folder, fields, kDefaultHeadDim, &config));
  RefuseUnsupported(fields);
  const std::string activation = fields.Text("hidden_activation", "gelu_pytorch_tanh");
  if (activation != "gelu_pytorch_tanh") {
    fields.Refuse("hidden_activation", activation, "a model of this family uses gelu_pytorch_tanh");
  }
  config.tied_embedding = fields.Flag("tie_word_embeddings", true);
  if (config.tied_embedding) model.other_tensors.push_back("lm_head.weight");
  config.norm_weight_offset = 1.0f;

  const std::vector<bool> is_full = ReadLayerTypes(fields, config.num_layers);
  const int64_t window = fields.Integer("sliding_window", 1, INT32_MAX);
  const double full_base = fields.Positive("rope_theta", kFullBase);
  const double sliding_base = fields.Positive("rope_local_base_freq", kSlidingBase);
  const double query_pre_scale = fields.Positive("query_pre_attn_scalar");
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig full, ReadLayerRope(folder, kFull, full_base, config.head_dim));
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig sliding,
                            ReadLayerRope(folder, kSliding, sliding_base, config.head_dim));
  SetCommon(query_pre_scale, &config);
  GroupLayers(is_full, window, full, sliding, &config);
  return model;
}

}  // namespace longspan
