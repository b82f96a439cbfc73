#include "runtime/model/families/settings.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// Bounds far above every model there is; within them no product of two sizes overflows.
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
// Kernels work on sixteen dimensions of a head at a time.
constexpr int64_t kHeadDimMultiple = 16;
constexpr int64_t kMaxHeadDim = 1024;

struct ShapeKeys {
  std::string_view layers, hidden, heads, kv_heads, head_dim, ffn, context, epsilon;
};

int64_t Size(FieldReader& fields, std::string_view key, int64_t most, int64_t fallback) {
  return fallback > 0 ? fields.Integer(key, 1, most, fallback) : fields.Integer(key, 1, most);
}

void ReadShape(FieldReader& fields, const ShapeKeys& keys, const FolderDefaults& defaults,
               ModelConfig* config) {
  config->num_layers = static_cast<int>(fields.Integer(keys.layers, 1, kMaxLayers));
  config->hidden_size = fields.Integer(keys.hidden, 1, kMaxSize);
  config->num_heads = static_cast<int>(Size(fields, keys.heads, kMaxHeads, defaults.heads));
  config->num_kv_heads = static_cast<int>(
      Size(fields, keys.kv_heads, kMaxHeads, defaults.kv_heads > 0 ? defaults.kv_heads : config->num_heads));
  config->ffn_size = fields.Integer(keys.ffn, 1, kMaxSize);
  config->max_context = Size(fields, keys.context, kMaxContext, defaults.context);
  config->norm_epsilon =
      static_cast<float>(defaults.norm_epsilon > 0 ? fields.Positive(keys.epsilon, defaults.norm_epsilon)
                                                   : fields.Positive(keys.epsilon));
  if (!fields.status().ok()) return;

  if (config->num_heads % config->num_kv_heads != 0) {
    fields.Invalid(keys.kv_heads, absl::StrCat("is ", config->num_kv_heads, ", which does not divide the ",
                                               config->num_heads, " query heads"));
  }
  int64_t fallback = defaults.head_dim;
  if (fallback == 0 && !fields.Has(keys.head_dim)) {
    fallback = config->hidden_size / config->num_heads;
    if (config->hidden_size % config->num_heads != 0) {
      fields.Invalid(keys.head_dim,
                     absl::StrCat("is missing and ", config->num_heads,
                                  " heads do not divide the hidden size ", config->hidden_size));
    }
  }
  const int64_t head_dim = fields.Integer(keys.head_dim, 1, INT64_MAX, fallback);
  if (head_dim <= 0 || head_dim > kMaxHeadDim || head_dim % kHeadDimMultiple != 0) {
    fields.Refuse(keys.head_dim, absl::StrCat(head_dim),
                  absl::StrCat("use a model whose head size is a multiple of ", kHeadDimMultiple, " up to ",
                               kMaxHeadDim));
  }
  config->head_dim = static_cast<int>(head_dim);
}

void ApplyTraits(const FamilyTraits& traits, ModelConfig* config) {
  config->family = std::string(traits.name);
  config->activation = traits.activation;
  config->qkv_bias = traits.qkv_bias;
  config->qk_norm = traits.qk_norm;
  config->post_norms = traits.post_norms;
  config->query_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config->head_dim)));
  if (traits.scaled_embedding) {
    config->embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(config->hidden_size)));
  }
}

void AppendUnique(const std::vector<int64_t>& ids, std::vector<int32_t>* unique) {
  for (const int64_t id : ids) {
    const int32_t token = static_cast<int32_t>(id);
    if (std::find(unique->begin(), unique->end(), token) == unique->end()) unique->push_back(token);
  }
}

constexpr std::string_view kUseAnother = "use a model without it";

void RefuseSoftCaps(FieldReader& fields, const FamilyTraits& traits) {
  for (const auto& [key, known] : {std::pair{"attn_logit_softcapping", traits.score_cap},
                                   std::pair{"final_logit_softcapping", traits.logit_cap}}) {
    if (!known && fields.Has(key)) fields.Refuse(key, "set", "use a model without soft-capping");
  }
}

void RefuseUnknownGgufSettings(FieldReader& fields, const FamilyTraits& traits) {
  if (const int64_t experts = fields.Integer("expert_count", 0, INT64_MAX, 0); experts > 0) {
    fields.Refuse("expert_count", absl::StrCat(experts), "use a model without experts");
  }
  if (!fields.Flag("attention.causal", true)) fields.Refuse("attention.causal", "false", kUseAnother);
  for (const char* key :
       {"attention.scale", "attention.temperature_scale", "attention.clamp_kqv", "attention.kv_lora_rank",
        "residual_scale", "embedding_scale", "logit_scale", "rope.dimension_sections"}) {
    if (fields.Has(key)) fields.Refuse(key, "set", kUseAnother);
  }
  RefuseSoftCaps(fields, traits);
}

void RefuseUnknownFolderSettings(FieldReader& fields, const FamilyTraits& traits) {
  if (fields.Has("quantization_config")) {
    fields.Refuse("quantization_config", "set", "use the model in F32, F16 or BF16, or as GGUF");
  }
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    if (const int64_t experts = fields.Integer(key, 0, INT64_MAX, 0); experts > 0) {
      fields.Refuse(key, absl::StrCat(experts), "use a model without experts");
    }
  }
  for (const char* key : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
    if (fields.Flag(key, false)) fields.Refuse(key, "true", kUseAnother);
  }
  if (fields.Has("kv_lora_rank")) fields.Refuse("kv_lora_rank", "set", kUseAnother);
  if (fields.Positive("partial_rotary_factor", 1.0) != 1.0) {
    fields.Refuse("partial_rotary_factor", "not 1", "use a model that rotates whole heads");
  }
  RefuseSoftCaps(fields, traits);
}

// Families name the setting of their feed-forward network's activation differently.
void CheckActivation(FieldReader& fields, ActivationKind kind) {
  const bool gelu = kind == ActivationKind::kGeluTanh;
  const char* key = gelu ? "hidden_activation" : "hidden_act";
  const char* expected = gelu ? "gelu_pytorch_tanh" : "silu";
  const std::string found = fields.Text(key, expected);
  if (found != expected) {
    fields.Refuse(key, found, absl::StrCat("a model of this family uses ", expected));
  }
}

}  // namespace

absl::StatusOr<FamilyModel> ReadGgufSettings(const GgufFile& file, FieldReader& fields,
                                             const FamilyTraits& traits) {
  FamilyModel model;
  ModelConfig& config = model.config;
  ReadShape(fields,
            {.layers = "block_count",
             .hidden = "embedding_length",
             .heads = "attention.head_count",
             .kv_heads = "attention.head_count_kv",
             .head_dim = "attention.key_length",
             .ffn = "feed_forward_length",
             .context = "context_length",
             .epsilon = "attention.layer_norm_rms_epsilon"},
            {}, &config);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  if (fields.Integer("attention.value_length", 1, INT64_MAX, config.head_dim) != config.head_dim) {
    fields.Refuse("attention.value_length", "not attention.key_length",
                  "keys and values must be equally long");
  }
  RefuseUnknownGgufSettings(fields, traits);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  ApplyTraits(traits, &config);
  model.weight_names = GgufWeightNames();

  // The embedding says how many tokens there are; the vocabulary's own length may leave out padding.
  const TensorEntry* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[0] > kMaxSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": has no matrix token_embd.weight; the file is incomplete, copy or download it again"));
  }
  config.vocab_size = embedding->shape[0];
  config.tied_embedding = file.FindTensor("output.weight") == nullptr;

  GgufFieldReader tokenizer(file, "tokenizer.ggml.");
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    AppendUnique(tokenizer.Integers(key, 0, config.vocab_size - 1), &config.eos_token_ids);
  }
  LONGSPAN_RETURN_IF_ERROR(tokenizer.status());
  GgufFieldReader general(file, "general.");
  config.name = general.Text("name", "");
  LONGSPAN_RETURN_IF_ERROR(general.status());
  return model;
}

absl::StatusOr<FamilyModel> ReadFolderSettings(const FolderConfig& folder, FieldReader& fields,
                                               const FamilyTraits& traits, const FolderDefaults& defaults) {
  FamilyModel model;
  ModelConfig& config = model.config;
  ReadShape(fields,
            {.layers = "num_hidden_layers",
             .hidden = "hidden_size",
             .heads = "num_attention_heads",
             .kv_heads = "num_key_value_heads",
             .head_dim = "head_dim",
             .ffn = "intermediate_size",
             .context = "max_position_embeddings",
             .epsilon = "rms_norm_eps"},
            defaults, &config);
  config.vocab_size = Size(fields, "vocab_size", kMaxSize, defaults.vocab_size);
  RefuseUnknownFolderSettings(fields, traits);
  CheckActivation(fields, traits.activation);
  config.tied_embedding = fields.Flag("tie_word_embeddings", defaults.tied_embedding);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  ApplyTraits(traits, &config);
  config.norm_weight_offset = traits.folder_norm_offset;
  model.weight_names = traits.post_norms ? FolderWeightNamesWithPostNorms() : FolderWeightNames();
  model.other_tensors = {".rotary_emb.inv_freq"};
  if (config.tied_embedding) model.other_tensors.push_back("lm_head.weight");

  JsonFieldReader generation(folder.generation, folder.path + "/generation_config.json");
  FieldReader& eos = generation.Has("eos_token_id") ? static_cast<FieldReader&>(generation) : fields;
  AppendUnique(eos.Integers("eos_token_id", 0, config.vocab_size - 1), &config.eos_token_ids);
  LONGSPAN_RETURN_IF_ERROR(eos.status());

  const std::filesystem::path path(folder.path);
  config.name = path.has_filename() ? path.filename() : path.parent_path().filename();
  return model;
}

bool IsNull(const FolderConfig& folder, const char* key) {
  const auto found = folder.config.find(key);
  return found != folder.config.end() && found->is_null();
}

}  // namespace longspan
