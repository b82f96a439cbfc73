#include "runtime/model/fingerprint.h"

#include <algorithm>
#include <cstdint>

#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace longspan {
namespace {

constexpr size_t kSampleBytes = 4096;

// What the decoder computes, but for the weights.
std::string Settings(const ModelConfig& config) {
  std::string text = absl::StrCat(config.num_layers, " ", config.hidden_size, " ", config.num_heads, " ",
                                  config.num_kv_heads, " ", config.head_dim, " ", config.ffn_size, " ",
                                  config.vocab_size, " ", config.max_context);
  absl::StrAppendFormat(&text, " %a %a %a %a %a %a %d %d %d %d %d", config.norm_epsilon,
                        config.norm_weight_offset, config.embedding_scale, config.query_scale,
                        config.score_cap, config.logit_cap, static_cast<int>(config.activation),
                        config.tied_embedding, config.qkv_bias, config.qk_norm, config.post_norms);
  for (const LayerGroupConfig& group : config.groups) {
    absl::StrAppendFormat(&text, "\n%d %a %d %a", group.window, group.rope.base, group.rope.dim,
                          group.rope.magnitude);
    for (const double divisor : group.rope.frequency_divisors) absl::StrAppendFormat(&text, " %a", divisor);
    absl::StrAppend(&text, " of ", absl::StrJoin(group.layers, " "));
  }
  return absl::StrCat(text, "\n", absl::StrJoin(config.eos_token_ids, " "));
}

}  // namespace

std::string ModelFingerprint(const ModelSource& source) {
  XXH3_state_t* const state = XXH3_createState();
  XXH3_128bits_reset(state);
  const auto add = [state](const void* data, size_t bytes) { XXH3_128bits_update(state, data, bytes); };
  const std::string settings = Settings(source.config());
  add(settings.data(), settings.size());
  for (const WeightView& weight : source.AllWeights()) {
    const TensorEntry& entry = *weight.entry;
    const std::string header = absl::StrCat("\n", entry.name, " ", static_cast<int>(entry.dtype), " ",
                                            absl::StrJoin(entry.shape, "x"), "\n");
    add(header.data(), header.size());
    const size_t sample = std::min(kSampleBytes, entry.bytes), rest = entry.bytes - sample;
    for (const size_t at : {size_t{0}, rest / 2, rest}) add(entry.data + at, sample);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

}  // namespace longspan
