// Llama 2 and 3 (arXiv 2307.09288, 2407.21783).
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/rope.h"

namespace longspan {
namespace {

constexpr char kRopeFrequencies[] = "rope_freqs.weight";

constexpr WeightName kFolderNames[] = {
    {WeightRole::kEmbedding, "model.embed_tokens.weight"},
    {WeightRole::kFinalNorm, "model.norm.weight"},
    {WeightRole::kOutput, "lm_head.weight"},
    {WeightRole::kAttentionNorm, "input_layernorm.weight"},
    {WeightRole::kQuery, "self_attn.q_proj.weight"},
    {WeightRole::kKey, "self_attn.k_proj.weight"},
    {WeightRole::kValue, "self_attn.v_proj.weight"},
    {WeightRole::kAttentionOutput, "self_attn.o_proj.weight"},
    {WeightRole::kFfnNorm, "post_attention_layernorm.weight"},
    {WeightRole::kGate, "mlp.gate_proj.weight"},
    {WeightRole::kUp, "mlp.up_proj.weight"},
    {WeightRole::kDown, "mlp.down_proj.weight"},
};

void SetCommon(const RopeConfig& rope, ModelConfig* config) {
  config->family = "llama";
  config->activation = ActivationKind::kSilu;
  config->query_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config->head_dim)));
  GroupLayers(std::vector<bool>(static_cast<size_t>(config->num_layers), true), 0, rope, {}, config);
}

// The converter resolves Llama 3's scaling into a tensor of divisors.
absl::Status ApplyRopeFrequencies(const GgufFile& file, RopeConfig* rope) {
  const TensorEntry* tensor = file.FindTensor(kRopeFrequencies);
  if (tensor == nullptr) return absl::OkStatus();
  const size_t count = static_cast<size_t>(rope->dim / 2);
  if (tensor->dtype != DType::kF32 || tensor->shape != std::vector<int64_t>{rope->dim / 2}) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", kRopeFrequencies,
                                                   " is not F32 [", count,
                                                   "]; convert the model again with a current tool"));
  }
  rope->frequency_divisors.resize(count, 1.0);
  for (size_t i = 0; i < count; ++i) {
    float divisor = 0;
    std::memcpy(&divisor, tensor->data + i * sizeof(float), sizeof(float));
    if (!std::isfinite(divisor) || divisor <= 0) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", kRopeFrequencies, " holds ",
                                                     divisor, " at ", i,
                                                     "; divisors are above zero, convert the model again"));
    }
    rope->frequency_divisors[i] *= divisor;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FamilyModel> LlamaFromGguf(const GgufFile& file) {
  FamilyModel model;
  model.weight_names = GgufWeightNames();
  model.interleaved_rope = true;
  model.other_tensors = {kRopeFrequencies};
  GgufFieldReader fields(file, "llama.");
  LONGSPAN_RETURN_IF_ERROR(ReadGgufShape(file, fields, &model.config));
  RopeConfig rope = ReadGgufRope(fields, 10000.0, model.config.head_dim);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_RETURN_IF_ERROR(ApplyRopeFrequencies(file, &rope));
  SetCommon(rope, &model.config);
  return model;
}

absl::StatusOr<FamilyModel> LlamaFromFolder(const FolderConfig& folder) {
  FamilyModel model;
  model.weight_names = {"model.layers.", kFolderNames};
  model.other_tensors = {".rotary_emb.inv_freq"};
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_RETURN_IF_ERROR(ReadFolderShape(folder, fields, 0, &model.config));
  RefuseUnsupported(fields);
  const std::string activation = fields.Text("hidden_act", "silu");
  if (activation != "silu") fields.Refuse("hidden_act", activation, "a model of this family uses silu");
  model.config.tied_embedding = fields.Flag("tie_word_embeddings", false);
  if (model.config.tied_embedding) model.other_tensors.push_back("lm_head.weight");

  // The newer spelling holds the base and the scaling together; the older one keeps the base apart.
  const double base = fields.Positive("rope_theta", 10000.0);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  std::string place;
  LONGSPAN_ASSIGN_OR_RETURN(const nlohmann::json* object, FindRopeObject(folder, &place));
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope,
                            ReadRope(*object, folder.config_path(), place, base, model.config.head_dim));
  SetCommon(rope, &model.config);
  return model;
}

}  // namespace longspan
