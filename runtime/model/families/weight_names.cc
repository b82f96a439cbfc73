#include "runtime/model/families/weight_names.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace longspan {
namespace {

constexpr WeightName kGgufNames[] = {
    {WeightRole::kEmbedding, "token_embd.weight"},
    {WeightRole::kFinalNorm, "output_norm.weight"},
    {WeightRole::kOutput, "output.weight"},
    {WeightRole::kAttentionNorm, "attn_norm.weight"},
    {WeightRole::kQuery, "attn_q.weight"},
    {WeightRole::kKey, "attn_k.weight"},
    {WeightRole::kValue, "attn_v.weight"},
    {WeightRole::kQueryBias, "attn_q.bias"},
    {WeightRole::kKeyBias, "attn_k.bias"},
    {WeightRole::kValueBias, "attn_v.bias"},
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

// What both kinds of layers of Hugging Face's have.
constexpr WeightName kFolderShared[] = {
    {WeightRole::kEmbedding, "model.embed_tokens.weight"},
    {WeightRole::kFinalNorm, "model.norm.weight"},
    {WeightRole::kOutput, "lm_head.weight"},
    {WeightRole::kAttentionNorm, "input_layernorm.weight"},
    {WeightRole::kQuery, "self_attn.q_proj.weight"},
    {WeightRole::kKey, "self_attn.k_proj.weight"},
    {WeightRole::kValue, "self_attn.v_proj.weight"},
    {WeightRole::kQueryBias, "self_attn.q_proj.bias"},
    {WeightRole::kKeyBias, "self_attn.k_proj.bias"},
    {WeightRole::kValueBias, "self_attn.v_proj.bias"},
    {WeightRole::kQueryNorm, "self_attn.q_norm.weight"},
    {WeightRole::kKeyNorm, "self_attn.k_norm.weight"},
    {WeightRole::kAttentionOutput, "self_attn.o_proj.weight"},
    {WeightRole::kGate, "mlp.gate_proj.weight"},
    {WeightRole::kUp, "mlp.up_proj.weight"},
    {WeightRole::kDown, "mlp.down_proj.weight"},
};
constexpr WeightName kTwoNorms[] = {
    {WeightRole::kFfnNorm, "post_attention_layernorm.weight"},
};
constexpr WeightName kFourNorms[] = {
    {WeightRole::kPostAttentionNorm, "post_attention_layernorm.weight"},
    {WeightRole::kFfnNorm, "pre_feedforward_layernorm.weight"},
    {WeightRole::kPostFfnNorm, "post_feedforward_layernorm.weight"},
};

template <size_t kNorms>
constexpr auto WithNorms(const WeightName (&norms)[kNorms]) {
  std::array<WeightName, std::size(kFolderShared) + kNorms> names{};
  std::copy(std::begin(norms), std::end(norms),
            std::copy(std::begin(kFolderShared), std::end(kFolderShared), names.begin()));
  return names;
}
constexpr auto kFolderNames = WithNorms(kTwoNorms);
constexpr auto kFolderNamesWithPostNorms = WithNorms(kFourNorms);

}  // namespace

WeightNames GgufWeightNames() { return {"blk.", kGgufNames}; }
WeightNames FolderWeightNames() { return {"model.layers.", kFolderNames}; }
WeightNames FolderWeightNamesWithPostNorms() { return {"model.layers.", kFolderNamesWithPostNorms}; }

}  // namespace longspan
