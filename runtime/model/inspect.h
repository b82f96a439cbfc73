// What a model is and what it costs in memory, for `longspan inspect`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/model_config.h"
#include "runtime/model/model_source.h"

namespace longspan {

struct FormatSummary {
  DType format = DType::kF32;
  int64_t tensors = 0;
  int64_t bytes = 0;
};

struct ModelSummary {
  std::string path;
  ModelConfig config;
  int64_t parameters = 0;  // a tied embedding counts once
  int64_t weight_bytes = 0;
  std::vector<FormatSummary> formats;  // the largest first
};

ModelSummary Summarize(const ModelSource& source);

// KV bytes that one more token adds in one layer group, in KV elements of `element_bytes`.
int64_t KvBytesPerToken(const ModelConfig& config, const LayerGroupConfig& group, int64_t element_bytes);

// KV bytes of one sequence: layers with a window hold the last `window` tokens alone. Saturates.
int64_t KvBytes(const ModelConfig& config, int64_t tokens, int64_t element_bytes);

// The most tokens, up to the model's context, whose KV fits beside the weights; 0 when the weights do not.
int64_t LargestContext(const ModelSummary& summary, int64_t memory_bytes, int64_t element_bytes);

// For people, several lines; and one JSON object with the same content. `memory_bytes` adds the largest
// context.
std::string RenderText(const ModelSummary& summary, std::optional<int64_t> memory_bytes);
std::string RenderJson(const ModelSummary& summary, std::optional<int64_t> memory_bytes);

}  // namespace longspan
