// What a decoder-only transformer computes, independent of family and file format.
//
// Families translate their own configuration into this one; the decoder reads nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longspan {

enum class ActivationKind : uint8_t { kSilu, kGeluTanh };

// Rotary position embedding (arXiv 2104.09864), rotating dimension i with dimension i + dim/2.
struct RopeConfig {
  double base = 10000.0;
  int dim = 0;  // dimensions rotated: the head size
  // Divisors of the dim/2 inverse frequencies: scaling rules (linear, llama3, yarn, GGUF's rope_freqs) are
  // resolved into them when a model is opened. Empty means all ones.
  std::vector<double> frequency_divisors;
  double magnitude = 1.0;  // multiplies cosines and sines
};

// Layers that share a cache rule and a rotary embedding.
struct LayerGroupConfig {
  int64_t window = 0;  // a token sees the last `window` positions, its own included; 0 = all
  RopeConfig rope;
  std::vector<int> layers;  // ascending
};

struct ModelConfig {
  std::string family;  // as "llama", "gemma3"
  std::string name;    // what the file calls the model; may be empty
  int num_layers = 0;
  int64_t hidden_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int64_t ffn_size = 0;
  int64_t vocab_size = 0;
  int64_t max_context = 0;  // tokens

  float norm_epsilon = 1e-6f;
  float norm_weight_offset = 0.0f;  // added to every RMS norm weight as stored (Hugging Face Gemma: 1)
  float embedding_scale = 1.0f;
  float query_scale = 1.0f;  // multiplies q · k
  float score_cap = 0.0f;    // c > 0: an attention score s becomes c · tanh(s / c)
  float logit_cap = 0.0f;    // c > 0: a logit l becomes c · tanh(l / c)
  ActivationKind activation = ActivationKind::kSilu;
  bool tied_embedding = false;  // logits use the embedding matrix
  bool qkv_bias = false;        // added to queries, keys and values before anything else
  bool qk_norm = false;         // RMS norm of each query and key head
  bool post_norms = false;      // RMS norm of the attention and FFN outputs before they are added

  std::vector<LayerGroupConfig> groups;
  std::vector<int> layer_group;  // [num_layers] index into groups

  std::vector<int32_t> eos_token_ids;  // any of them ends a generation
};

}  // namespace longspan
