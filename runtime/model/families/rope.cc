#include "runtime/model/families/rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

std::vector<double> LinearDivisors(double factor, int dim) {
  return std::vector<double>(static_cast<size_t>(dim / 2), factor);
}

}  // namespace

std::vector<double> Llama3Divisors(double base, int dim, const Llama3Scaling& scaling) {
  std::vector<double> divisors;
  for (int i = 0; i < dim / 2; ++i) {
    const double frequency = std::pow(base, -2.0 * i / dim);
    const double wavelength = 2 * std::numbers::pi / frequency;  // tokens
    const double turns = scaling.original_context / wavelength;  // within the original context
    if (turns < scaling.low_frequency_factor) {
      divisors.push_back(scaling.factor);
    } else if (turns > scaling.high_frequency_factor) {
      divisors.push_back(1.0);
    } else {
      const double keep = (turns - scaling.low_frequency_factor) /
                          (scaling.high_frequency_factor - scaling.low_frequency_factor);
      divisors.push_back(1.0 / ((1.0 - keep) / scaling.factor + keep));
    }
  }
  return divisors;
}

namespace {

// The dimension, not rounded, whose frequency turns so many times within the original context.
double DimensionOfTurns(double turns, double base, int dim, double original_context) {
  return dim * std::log(original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
}

// YaRN lets a model see what its factor makes of the context that it was trained with.
void ExtendContext(const YarnScaling& scaling, ModelConfig* config) {
  const double extended = scaling.factor * scaling.original_context;
  if (extended > static_cast<double>(kMaxContext)) return;
  config->max_context = std::max(config->max_context, static_cast<int64_t>(extended));
}

void ReadLlama3(FieldReader& fields, double default_context, RopeConfig* rope) {
  Llama3Scaling scaling;
  scaling.factor = fields.Positive("factor");
  scaling.low_frequency_factor = fields.Positive("low_freq_factor");
  scaling.high_frequency_factor = fields.Positive("high_freq_factor");
  scaling.original_context = fields.Positive("original_max_position_embeddings", default_context);
  if (!fields.status().ok()) return;
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    fields.Invalid("high_freq_factor", "is not above low_freq_factor");
    return;
  }
  rope->frequency_divisors = Llama3Divisors(rope->base, rope->dim, scaling);
}

void CheckYarn(FieldReader& fields, const RopeConfig& rope, const YarnScaling& scaling, const char* base_key,
               const char* beta_key) {
  if (rope.base <= 1) fields.Invalid(base_key, "is not above 1");
  if (scaling.beta_fast < scaling.beta_slow) fields.Invalid(beta_key, "is below that of slow turns");
}

// As transformers reads it, which other programs follow.
void ReadYarn(FieldReader& fields, double default_context, RopeConfig* rope, ModelConfig* config) {
  YarnScaling scaling;
  scaling.original_context = fields.Positive("original_max_position_embeddings", default_context);
  scaling.factor =
      fields.Positive("factor", static_cast<double>(config->max_context) / scaling.original_context);
  const auto unless_zero = [](double value, double otherwise) { return value == 0 ? otherwise : value; };
  scaling.beta_fast = unless_zero(fields.NotNegative("beta_fast", 0), scaling.beta_fast);
  scaling.beta_slow = unless_zero(fields.NotNegative("beta_slow", 0), scaling.beta_slow);
  scaling.whole_ends = fields.Flag("truncate", true);
  const double weight = fields.NotNegative("mscale", 0), all_weight = fields.NotNegative("mscale_all_dim", 0);
  double magnitude = YarnMagnitude(scaling.factor, 1);
  if (weight > 0 && all_weight > 0) {
    magnitude = YarnMagnitude(scaling.factor, weight) / YarnMagnitude(scaling.factor, all_weight);
  }
  rope->magnitude = fields.Positive("attention_factor", magnitude);
  CheckYarn(fields, *rope, scaling, "rope_theta", "beta_fast");
  if (!fields.status().ok()) return;
  rope->frequency_divisors = YarnDivisors(rope->base, rope->dim, scaling);
  ExtendContext(scaling, config);
}

// llama.cpp's spelling of the same.
void ReadGgufYarn(FieldReader& fields, RopeConfig* rope, ModelConfig* config) {
  YarnScaling scaling;
  scaling.factor = fields.Positive("rope.scaling.factor");
  scaling.original_context =
      fields.Positive("rope.scaling.original_context_length", static_cast<double>(config->max_context));
  scaling.beta_fast = fields.Positive("rope.scaling.yarn_beta_fast", scaling.beta_fast);
  scaling.beta_slow = fields.Positive("rope.scaling.yarn_beta_slow", scaling.beta_slow);
  if (fields.Positive("rope.scaling.yarn_ext_factor", 1.0) != 1.0) {
    fields.Refuse("rope.scaling.yarn_ext_factor", "not 1", "use a model without it");
  }
  double magnitude = YarnMagnitude(scaling.factor, 1);
  if (const double weight = fields.NotNegative("rope.scaling.yarn_log_multiplier", 0); weight > 0) {
    magnitude /= YarnMagnitude(scaling.factor, weight);
  }
  rope->magnitude = fields.Positive("rope.scaling.yarn_attn_factor", magnitude) *
                    fields.Positive("rope.scaling.attn_factor", 1.0);
  CheckYarn(fields, *rope, scaling, "rope.freq_base", "rope.scaling.yarn_beta_fast");
  if (!fields.status().ok()) return;
  rope->frequency_divisors = YarnDivisors(rope->base, rope->dim, scaling);
  ExtendContext(scaling, config);
}

absl::Status ApplyRopeFrequencies(const GgufFile& file, RopeConfig* rope) {
  const TensorEntry* tensor = file.FindTensor(kRopeFrequencies);
  if (tensor == nullptr) return absl::OkStatus();
  const size_t count = static_cast<size_t>(rope->dim / 2);
  if (tensor->dtype != DType::kF32 || tensor->shape != std::vector<int64_t>{rope->dim / 2}) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", kRopeFrequencies,
                                                   " is not F32 [", count,
                                                   "]; convert the model again with a current tool"));
  }
  rope->frequency_divisors.resize(count, 1.0);
  for (size_t i = 0; i < count; ++i) {
    float divisor = 0;
    std::memcpy(&divisor, tensor->data + i * sizeof(float), sizeof(float));
    if (!std::isfinite(divisor) || divisor <= 0) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", kRopeFrequencies, " holds ",
                                                     divisor, " at ", i,
                                                     "; divisors are above zero, convert the model again"));
    }
    rope->frequency_divisors[i] *= divisor;
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<double> YarnDivisors(double base, int dim, const YarnScaling& scaling) {
  double low = DimensionOfTurns(scaling.beta_fast, base, dim, scaling.original_context);
  double high = DimensionOfTurns(scaling.beta_slow, base, dim, scaling.original_context);
  if (scaling.whole_ends) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;
  std::vector<double> divisors;
  for (int i = 0; i < dim / 2; ++i) {
    const double divided = std::clamp((i - low) / (high - low), 0.0, 1.0);
    divisors.push_back(1.0 / (divided / scaling.factor + (1.0 - divided)));
  }
  return divisors;
}

double YarnMagnitude(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

absl::StatusOr<RopeObject> FindRopeObject(const FolderConfig& folder) {
  static const nlohmann::json& kEmpty = *new nlohmann::json(nlohmann::json::object());
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto found = folder.config.find(key);
    if (found == folder.config.end() || found->is_null()) continue;
    if (!found->is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(folder.config_path(), ": ", key,
                                                     " is not an object; copy or download the file again"));
    }
    if (!found->empty()) return RopeObject{&*found, absl::StrCat(key, ".")};
  }
  return RopeObject{&kEmpty, "rope_parameters."};
}

absl::StatusOr<RopeConfig> ReadRope(const FolderConfig& folder, const RopeObject& object, double base,
                                    ModelConfig* config) {
  JsonFieldReader whole(folder.config, folder.config_path());
  JsonFieldReader fields(*object.json, folder.config_path(), object.place);
  RopeConfig rope;
  rope.dim = config->head_dim;
  rope.base = fields.Positive("rope_theta", base);
  if (fields.Positive("partial_rotary_factor", 1.0) != 1.0) {
    fields.Refuse("partial_rotary_factor", "not 1", "use a model that rotates whole heads");
  }
  for (const char* key : {"llama_4_scaling_beta", "mrope_section"}) {
    if (fields.Has(key)) fields.Refuse(key, "set", "use a model without it");
  }
  const double default_context =
      whole.Positive("original_max_position_embeddings", static_cast<double>(config->max_context));
  const std::string kind = fields.Text("rope_type", fields.Text("type", "default"));
  if (kind == "linear") {
    rope.frequency_divisors = LinearDivisors(fields.Positive("factor"), rope.dim);
  } else if (kind == "llama3") {
    ReadLlama3(fields, default_context, &rope);
  } else if (kind == "yarn") {
    ReadYarn(fields, default_context, &rope, config);
  } else if (kind != "default") {
    fields.Refuse("rope_type", kind, "use a model with default, linear, llama3 or yarn RoPE");
  }
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_RETURN_IF_ERROR(whole.status());
  return rope;
}

absl::StatusOr<RopeConfig> ReadFolderRope(const FolderConfig& folder, FieldReader& fields,
                                          double default_base, ModelConfig* config) {
  const double base = fields.Positive("rope_theta", default_base);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeObject object, FindRopeObject(folder));
  return ReadRope(folder, object, base, config);
}

absl::StatusOr<RopeConfig> ReadGgufRope(const GgufFile& file, FieldReader& fields, double default_base,
                                        ModelConfig* config) {
  RopeConfig rope;
  rope.dim = config->head_dim;
  rope.base = fields.Positive("rope.freq_base", default_base);
  if (fields.Integer("rope.dimension_count", 1, INT64_MAX, rope.dim) != rope.dim) {
    fields.Refuse("rope.dimension_count", "not the head size", "use a model that rotates whole heads");
  }
  // Older converters wrote the factor alone, as rope.scale_linear.
  const char* factor_key = fields.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const std::string kind = fields.Text("rope.scaling.type", fields.Has(factor_key) ? "linear" : "none");
  if (kind == "linear") {
    const double factor = fields.Positive(factor_key, 1.0);
    if (factor != 1.0) rope.frequency_divisors = LinearDivisors(factor, rope.dim);
  } else if (kind == "yarn") {
    ReadGgufYarn(fields, &rope, config);
  } else if (kind != "none") {
    fields.Refuse("rope.scaling.type", kind, "use a model with linear or yarn scaling or rope_freqs.weight");
  }
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_RETURN_IF_ERROR(ApplyRopeFrequencies(file, &rope));
  return rope;
}

}  // namespace longspan
