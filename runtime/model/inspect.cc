#include "runtime/model/inspect.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

struct KvFormat {
  const char* name;
  int64_t element_bytes;
};
constexpr KvFormat kKvFormats[] = {{"f32", 4}, {"bf16", 2}};

int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

std::string HumanBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " bytes") : absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

// A name from a file, on one line.
std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; }, ' ');
  return text;
}

std::string DescribeGroup(const LayerGroupConfig& group) {
  const std::string layers =
      absl::StrCat(group.window == 0 ? " full layer" : " sliding layer", group.layers.size() == 1 ? "" : "s");
  return absl::StrCat(group.layers.size(), layers,
                      group.window == 0 ? "" : absl::StrCat(", window ", group.window));
}

}  // namespace

ModelSummary Summarize(const ModelSource& source) {
  ModelSummary summary;
  summary.path = source.path();
  summary.config = source.config();
  for (const WeightView& weight : source.AllWeights()) {
    const TensorEntry& entry = *weight.entry;
    summary.parameters += weight.rows * weight.columns;
    summary.weight_bytes += static_cast<int64_t>(entry.bytes);
    auto format = std::find_if(summary.formats.begin(), summary.formats.end(),
                               [&](const FormatSummary& other) { return other.format == entry.dtype; });
    if (format == summary.formats.end()) format = summary.formats.insert(format, {.format = entry.dtype});
    ++format->tensors;
    format->bytes += static_cast<int64_t>(entry.bytes);
  }
  std::stable_sort(summary.formats.begin(), summary.formats.end(),
                   [](const FormatSummary& a, const FormatSummary& b) { return a.bytes > b.bytes; });
  return summary;
}

int64_t KvBytesPerToken(const ModelConfig& config, const LayerGroupConfig& group, int64_t element_bytes) {
  return 2 * static_cast<int64_t>(group.layers.size()) * config.num_kv_heads * config.head_dim *
         element_bytes;
}

int64_t KvBytes(const ModelConfig& config, int64_t tokens, int64_t element_bytes) {
  int64_t bytes = 0;
  for (const LayerGroupConfig& group : config.groups) {
    const int64_t held = group.window == 0 ? tokens : std::min(tokens, group.window);
    bytes = SaturatingAdd(bytes, SaturatingMultiply(KvBytesPerToken(config, group, element_bytes), held));
  }
  return bytes;
}

int64_t LargestContext(const ModelSummary& summary, int64_t memory_bytes, int64_t element_bytes) {
  const int64_t room = memory_bytes - summary.weight_bytes;
  if (room < 0) return 0;
  int64_t fits = 0;
  int64_t too_many = summary.config.max_context + 1;
  while (too_many - fits > 1) {
    const int64_t middle = fits + (too_many - fits) / 2;
    (KvBytes(summary.config, middle, element_bytes) <= room ? fits : too_many) = middle;
  }
  return fits;
}

std::string RenderText(const ModelSummary& summary, std::optional<int64_t> memory_bytes) {
  const ModelConfig& config = summary.config;
  std::string text;
  absl::StrAppendFormat(&text, "model        %s\n",
                        OneLine(config.name.empty() ? summary.path : config.name));
  absl::StrAppendFormat(&text, "family       %s\n", config.family);
  absl::StrAppendFormat(&text, "layers       %d\n", config.num_layers);
  absl::StrAppendFormat(&text, "hidden size  %d\n", config.hidden_size);
  absl::StrAppendFormat(&text, "heads        %d query, %d KV, of %d\n", config.num_heads, config.num_kv_heads,
                        config.head_dim);
  absl::StrAppendFormat(&text, "FFN size     %d\n", config.ffn_size);
  absl::StrAppendFormat(&text, "vocabulary   %d tokens%s\n", config.vocab_size,
                        config.tied_embedding ? ", embedding tied to the output" : "");
  absl::StrAppendFormat(&text, "context      %d tokens\n", config.max_context);
  absl::StrAppendFormat(&text, "parameters   %d\n", summary.parameters);
  absl::StrAppendFormat(&text, "weights      %s\n", HumanBytes(summary.weight_bytes));
  for (const FormatSummary& format : summary.formats) {
    absl::StrAppendFormat(&text, "  %-5s      %s in %d tensors\n", std::string(Traits(format.format).name),
                          HumanBytes(format.bytes), format.tensors);
  }
  absl::StrAppend(&text, "KV per token\n");
  for (const LayerGroupConfig& group : config.groups) {
    absl::StrAppendFormat(&text, "  %s:", DescribeGroup(group));
    const char* separator = " ";
    for (const KvFormat& format : kKvFormats) {
      const int64_t bytes = KvBytesPerToken(config, group, format.element_bytes);
      absl::StrAppendFormat(&text, "%s%s %s", separator, format.name, HumanBytes(bytes));
      if (group.window != 0) {
        absl::StrAppendFormat(&text, " (%s at most)", HumanBytes(SaturatingMultiply(bytes, group.window)));
      }
      separator = ", ";
    }
    absl::StrAppend(&text, "\n");
  }
  if (!memory_bytes.has_value()) return text;

  absl::StrAppendFormat(&text, "largest context in %s\n", HumanBytes(*memory_bytes));
  for (const KvFormat& format : kKvFormats) {
    const int64_t tokens = LargestContext(summary, *memory_bytes, format.element_bytes);
    absl::StrAppendFormat(&text, "  %-4s       %d tokens%s\n", format.name, tokens,
                          tokens == config.max_context ? ", the model's limit"
                          : tokens == 0                ? ", the weights leave no room"
                                                       : "");
  }
  return text;
}

std::string RenderJson(const ModelSummary& summary, std::optional<int64_t> memory_bytes) {
  const ModelConfig& config = summary.config;
  ordered_json json = {
      {"path", summary.path},
      {"name", config.name},
      {"family", config.family},
      {"layers", config.num_layers},
      {"hidden_size", config.hidden_size},
      {"heads", config.num_heads},
      {"kv_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"ffn_size", config.ffn_size},
      {"vocab_size", config.vocab_size},
      {"max_context", config.max_context},
      {"tied_embedding", config.tied_embedding},
      {"eos_token_ids", config.eos_token_ids},
      {"parameters", summary.parameters},
      {"weight_bytes", summary.weight_bytes},
  };
  ordered_json& formats = json["weight_bytes_by_format"] = ordered_json::object();
  for (const FormatSummary& format : summary.formats) {
    formats[std::string(Traits(format.format).name)] = format.bytes;
  }
  ordered_json& groups = json["layer_groups"] = ordered_json::array();
  for (const LayerGroupConfig& group : config.groups) {
    ordered_json entry = {{"layers", group.layers.size()}};
    entry["window"] = group.window == 0 ? ordered_json(nullptr) : ordered_json(group.window);
    for (const KvFormat& format : kKvFormats) {
      const int64_t bytes = KvBytesPerToken(config, group, format.element_bytes);
      entry["kv_bytes_per_token"][format.name] = bytes;
      if (group.window != 0) entry["kv_bytes_at_most"][format.name] = SaturatingMultiply(bytes, group.window);
    }
    groups.push_back(std::move(entry));
  }
  if (memory_bytes.has_value()) {
    json["memory_bytes"] = *memory_bytes;
    for (const KvFormat& format : kKvFormats) {
      json["largest_context"][format.name] = LargestContext(summary, *memory_bytes, format.element_bytes);
    }
  }
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace longspan
