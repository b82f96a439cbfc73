// An opened model: its configuration and where each weight lies.
//
// It owns the mapped files; views must not outlive it. Threads: immutable after Open; may be read from any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/mapped_file.h"
#include "runtime/model/model_config.h"
#include "runtime/model/model_files.h"
#include "runtime/model/tensor_file.h"

namespace longspan {

enum class WeightRole : uint8_t {
  kEmbedding,  // [vocab, hidden]
  kFinalNorm,  // [hidden]
  kOutput,     // [vocab, hidden]; absent when the embedding is tied
  // Of one layer:
  kAttentionNorm,      // [hidden]
  kQuery,              // [heads * head_dim, hidden]
  kKey,                // [kv_heads * head_dim, hidden]
  kValue,              // [kv_heads * head_dim, hidden]
  kQueryBias,          // [heads * head_dim], with qkv_bias
  kKeyBias,            // [kv_heads * head_dim], with qkv_bias
  kValueBias,          // [kv_heads * head_dim], with qkv_bias
  kQueryNorm,          // [head_dim], with qk_norm
  kKeyNorm,            // [head_dim], with qk_norm
  kAttentionOutput,    // [hidden, heads * head_dim]
  kPostAttentionNorm,  // [hidden], with post_norms
  kFfnNorm,            // [hidden]
  kGate,               // [ffn, hidden]
  kUp,                 // [ffn, hidden]
  kDown,               // [hidden, ffn]
  kPostFfnNorm,        // [hidden], with post_norms
};

// A weight as the file stores it. Vectors have one row.
struct WeightView {
  const TensorEntry* entry = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  // Logical row i, or element i of a vector, is the file's row_order[i]; empty means the identity. GGUF files
  // of the Llama family interleave the rotated halves of each query and key head; this undoes it.
  std::vector<int32_t> row_order;
};

class ModelSource : public ModelFiles {
 public:
  // `path` is a .gguf file or a folder with config.json and *.safetensors. Fails, naming the thing, when the
  // family or a weight's format is not supported, or when a weight of the family is missing or of wrong
  // shape.
  static absl::StatusOr<std::unique_ptr<ModelSource>> Open(const std::string& path);

  const ModelConfig& config() const { return config_; }

  // The weight in a role; `layer` is ignored for roles outside layers. All weights of the configuration were
  // checked by Open, so asking for one that the configuration does not have is a bug (CHECK).
  WeightView Weight(WeightRole role, int layer = 0) const;

  // Tells the system that the pages of this weight are not needed in memory any more.
  void Release(const WeightView& weight) const;

  // Bytes of all weights as stored.
  size_t weight_bytes() const;
  // Every weight that the configuration uses, once.
  std::vector<WeightView> AllWeights() const;

 private:
  explicit ModelSource(ModelFiles files) : ModelFiles(std::move(files)) {}

  ModelConfig config_;
  std::vector<std::unique_ptr<MappedFile>> safetensors_files_;
  std::vector<TensorEntry> safetensors_;
  std::vector<WeightView> weights_;  // see model_source.cc for the index of a role
};

}  // namespace longspan
