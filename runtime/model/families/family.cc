#include "runtime/model/families/family.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// Bounds far above every model there is; within them no product of two sizes overflows.
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxHeadDim = int64_t{1} << 13;
constexpr int64_t kMaxContext = int64_t{1} << 31;
// Kernels and KV layouts work on eight dimensions of a head at a time.
constexpr int64_t kHeadDimMultiple = 8;

constexpr WeightName kGgufNames[] = {
    {WeightRole::kEmbedding, "token_embd.weight"},
    {WeightRole::kFinalNorm, "output_norm.weight"},
    {WeightRole::kOutput, "output.weight"},
    {WeightRole::kAttentionNorm, "attn_norm.weight"},
    {WeightRole::kQuery, "attn_q.weight"},
    {WeightRole::kKey, "attn_k.weight"},
    {WeightRole::kValue, "attn_v.weight"},
    {WeightRole::kQueryNorm, "attn_q_norm.weight"},
    {WeightRole::kKeyNorm, "attn_k_norm.weight"},
    {WeightRole::kAttentionOutput, "attn_output.weight"},
    {WeightRole::kPostAttentionNorm, "post_attention_norm.weight"},
    {WeightRole::kFfnNorm, "ffn_norm.weight"},
    {WeightRole::kGate, "ffn_gate.weight"},
    {WeightRole::kUp, "ffn_up.weight"},
    {WeightRole::kDown, "ffn_down.weight"},
    {WeightRole::kPostFfnNorm, "post_ffw_norm.weight"},
};

struct ShapeKeys {
  std::string_view layers, hidden, heads, kv_heads, head_dim, ffn, context, epsilon;
};

// `default_head_dim` 0 stands for hidden / heads.
void ReadShape(FieldReader& fields, const ShapeKeys& keys, int64_t default_head_dim, ModelConfig* config) {
  config->num_layers = static_cast<int>(fields.Integer(keys.layers, 1, kMaxLayers));
  config->hidden_size = fields.Integer(keys.hidden, 1, kMaxSize);
  config->num_heads = static_cast<int>(fields.Integer(keys.heads, 1, kMaxHeads));
  config->num_kv_heads = static_cast<int>(fields.Integer(keys.kv_heads, 1, kMaxHeads, config->num_heads));
  config->ffn_size = fields.Integer(keys.ffn, 1, kMaxSize);
  config->max_context = fields.Integer(keys.context, 1, kMaxContext);
  config->norm_epsilon = static_cast<float>(fields.Positive(keys.epsilon));
  if (!fields.status().ok()) return;

  if (config->num_heads % config->num_kv_heads != 0) {
    fields.Invalid(keys.kv_heads, absl::StrCat("is ", config->num_kv_heads, ", which does not divide the ",
                                               config->num_heads, " query heads"));
  }
  if (default_head_dim == 0 && !fields.Has(keys.head_dim)) {
    default_head_dim = config->hidden_size / config->num_heads;
    if (config->hidden_size % config->num_heads != 0) {
      fields.Invalid(keys.head_dim,
                     absl::StrCat("is missing and ", config->num_heads,
                                  " heads do not divide the hidden size ", config->hidden_size));
    }
  }
  const int64_t head_dim = fields.Integer(keys.head_dim, 1, kMaxHeadDim, default_head_dim);
  if (head_dim <= 0 || head_dim > kMaxHeadDim || head_dim % kHeadDimMultiple != 0) {
    fields.Refuse(keys.head_dim, absl::StrCat(head_dim),
                  absl::StrCat("use a model whose head size is a multiple of ", kHeadDimMultiple));
  }
  config->head_dim = static_cast<int>(head_dim);
}

void AppendUnique(const std::vector<int64_t>& ids, std::vector<int32_t>* unique) {
  for (const int64_t id : ids) {
    const int32_t token = static_cast<int32_t>(id);
    if (std::find(unique->begin(), unique->end(), token) == unique->end()) unique->push_back(token);
  }
}

}  // namespace

std::span<const Family> Families() {
  static constexpr Family kFamilies[] = {
      {"llama", LlamaFromGguf, "llama", LlamaFromFolder},
      {"gemma3", Gemma3FromGguf, "gemma3_text", Gemma3FromFolder},
  };
  return kFamilies;
}

WeightNames GgufWeightNames() { return {"blk.", kGgufNames}; }

absl::Status ReadGgufShape(const GgufFile& file, FieldReader& fields, ModelConfig* config) {
  ReadShape(fields,
            {.layers = "block_count",
             .hidden = "embedding_length",
             .heads = "attention.head_count",
             .kv_heads = "attention.head_count_kv",
             .head_dim = "attention.key_length",
             .ffn = "feed_forward_length",
             .context = "context_length",
             .epsilon = "attention.layer_norm_rms_epsilon"},
            0, config);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  if (fields.Integer("attention.value_length", 1, kMaxHeadDim, config->head_dim) != config->head_dim) {
    fields.Refuse("attention.value_length", "not attention.key_length",
                  "keys and values must be equally long");
  }

  // The embedding says how many tokens there are; the vocabulary's own length may leave out padding.
  const TensorEntry* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2 || embedding->shape[0] > kMaxSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": has no matrix token_embd.weight; give a file with weights, not a vocabulary alone"));
  }
  config->vocab_size = embedding->shape[0];
  config->tied_embedding = file.FindTensor("output.weight") == nullptr;

  GgufFieldReader tokenizer(file, "tokenizer.ggml.");
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    AppendUnique(tokenizer.Integers(key, 0, config->vocab_size - 1), &config->eos_token_ids);
  }
  LONGSPAN_RETURN_IF_ERROR(tokenizer.status());
  GgufFieldReader general(file, "general.");
  config->name = general.Text("name", "");
  return general.status();
}

absl::Status ReadFolderShape(const FolderConfig& folder, FieldReader& fields, int64_t default_head_dim,
                             ModelConfig* config) {
  ReadShape(fields,
            {.layers = "num_hidden_layers",
             .hidden = "hidden_size",
             .heads = "num_attention_heads",
             .kv_heads = "num_key_value_heads",
             .head_dim = "head_dim",
             .ffn = "intermediate_size",
             .context = "max_position_embeddings",
             .epsilon = "rms_norm_eps"},
            default_head_dim, config);
  config->vocab_size = fields.Integer("vocab_size", 1, kMaxSize);
  LONGSPAN_RETURN_IF_ERROR(fields.status());

  JsonFieldReader generation(folder.generation, folder.path + "/generation_config.json");
  FieldReader& eos = generation.Has("eos_token_id") ? static_cast<FieldReader&>(generation) : fields;
  AppendUnique(eos.Integers("eos_token_id", 0, config->vocab_size - 1), &config->eos_token_ids);
  LONGSPAN_RETURN_IF_ERROR(eos.status());

  const std::filesystem::path path(folder.path);
  config->name = path.has_filename() ? path.filename() : path.parent_path().filename();
  return absl::OkStatus();
}

void RefuseUnsupported(FieldReader& fields) {
  if (fields.Has("quantization_config")) {
    fields.Refuse("quantization_config", "set", "use the model in F32, F16 or BF16, or as GGUF");
  }
  for (const char* key : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
    if (fields.Flag(key, false)) fields.Refuse(key, "true", "use a model without it");
  }
  if (fields.Positive("partial_rotary_factor", 1.0) != 1.0) {
    fields.Refuse("partial_rotary_factor", "not 1", "use a model that rotates whole heads");
  }
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (fields.Has(key)) fields.Refuse(key, "set", "use a model without soft-capping");
  }
}

void GroupLayers(const std::vector<bool>& is_full, int64_t window, const RopeConfig& full,
                 const RopeConfig& sliding, ModelConfig* config) {
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
