#include "bench/model_work.h"

#include <algorithm>

namespace longspan::bench {

ModelWork::ModelWork(const ModelSource& source) : config_(source.config()) {
  const TensorEntry* embedding = source.Weight(WeightRole::kEmbedding).entry;
  const TensorEntry* head = config_.tied_embedding ? embedding : source.Weight(WeightRole::kOutput).entry;
  for (const WeightView& weight : source.AllWeights()) {
    if (weight.rows <= 1 || (weight.entry == embedding && embedding != head)) continue;
    const DType format = weight.entry->dtype;
    auto kind = std::find_if(products_.begin(), products_.end(), [format](const Products& products) {
      return RoofsOf(products.example) == RoofsOf(format);
    });
    if (kind == products_.end()) kind = products_.insert(kind, Products{format});
    const double operations = 2.0 * static_cast<double>(weight.rows) * static_cast<double>(weight.columns);
    (weight.entry == head ? kind->per_logit_row : kind->per_token) += operations;
  }
}

std::vector<Arithmetic> ModelWork::ArithmeticOf(int64_t first_position, int64_t rows,
                                                int64_t logit_rows) const {
  std::vector<Arithmetic> parts;
  for (const Products& products : products_) {
    parts.push_back({products.per_token * static_cast<double>(rows) +
                         products.per_logit_row * static_cast<double>(logit_rows),
                     RoofsOf(products.example)});
  }
  double pairs = 0;  // of a query and a key, in all layers
  for (const LayerGroupConfig& group : config_.groups) {
    for (int64_t position = first_position; position < first_position + rows; ++position) {
      const int64_t keys = group.window > 0 ? std::min(position + 1, group.window) : position + 1;
      pairs += static_cast<double>(keys) * static_cast<double>(group.layers.size());
    }
  }
  parts.push_back({4.0 * pairs * config_.num_heads * config_.head_dim, {Roof::kF32Fma, Roof::kBf16Dot}});
  return parts;
}

double ModelWork::KvBytes(int64_t position) const {
  double bytes = 0;
  for (const LayerGroupConfig& group : config_.groups) {
    const int64_t keys = group.window > 0 ? std::min(position + 1, group.window) : position + 1;
    const double bytes_per_key =
        2.0 * config_.num_kv_heads * config_.head_dim * Traits(DType::kBF16).block_bytes;
    bytes += static_cast<double>(keys) * static_cast<double>(group.layers.size()) * bytes_per_key;
  }
  return bytes;
}

}  // namespace longspan::bench
