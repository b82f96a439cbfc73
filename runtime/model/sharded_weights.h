// The weights of one rank, in its backend's layout.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "runtime/model/model_source.h"
#include "runtime/model/shard.h"

namespace longspan {

struct LayerWeights {
  // Parts of the query, key and value matrices that fall into this rank's range of columns; null where none
  // does.
  std::array<std::unique_ptr<Weight>, 3> qkv;
  std::unique_ptr<Weight> output, gate, up, down;
  // Device float32 vectors, null where the model has none: norm weights, and the biases of the tp shard's
  // queries, keys and values, as wide as what the kvp ranks gather.
  const float* qkv_bias = nullptr;
  const float* attention_norm = nullptr;
  const float* query_norm = nullptr;
  const float* key_norm = nullptr;
  const float* post_attention_norm = nullptr;
  const float* ffn_norm = nullptr;
  const float* post_ffn_norm = nullptr;
};

struct ShardedWeights {
  std::unique_ptr<Weight> embedding;      // this rank's rows of the vocabulary
  std::unique_ptr<Weight> untied_output;  // null when tied
  std::vector<LayerWeights> layers;
  const float* final_norm = nullptr;
  DeviceBuffer vectors;  // all norm weights and biases
  size_t bytes = 0;      // of everything above

  const Weight& output() const { return untied_output ? *untied_output : *embedding; }
};

// Loads what `plan` gives this rank. Pages of the file that were read are given back as loading goes on. A
// weight that is NaN or infinite is an error that names its tensor, row and column.
// `progress` is called with the share done, 0 to 1; it may be empty.
absl::StatusOr<ShardedWeights> LoadShardedWeights(const ModelSource& source, const ShardPlan& plan,
                                                  Backend& backend,
                                                  const std::function<void(double)>& progress);

}  // namespace longspan
