#include "runtime/model/families/rope.h"

#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

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

absl::StatusOr<const nlohmann::json*> FindRopeObject(const FolderConfig& folder, std::string* place) {
  static const nlohmann::json& kEmpty = *new nlohmann::json(nlohmann::json::object());
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto found = folder.config.find(key);
    if (found == folder.config.end() || found->is_null()) continue;
    if (!found->is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(folder.config_path(), ": ", key,
                                                     " is not an object; copy or download the file again"));
    }
    *place = absl::StrCat(key, ".");
    return &*found;
  }
  *place = "rope_parameters.";
  return &kEmpty;
}

absl::StatusOr<RopeConfig> ReadRope(const nlohmann::json& object, const std::string& origin,
                                    const std::string& place, double base, int dim) {
  JsonFieldReader fields(object, origin, place);
  RopeConfig rope;
  rope.dim = dim;
  rope.base = fields.Positive("rope_theta", base);
  if (fields.Positive("partial_rotary_factor", 1.0) != 1.0) {
    fields.Refuse("partial_rotary_factor", "not 1", "use a model that rotates whole heads");
  }
  const std::string kind = fields.Text("rope_type", fields.Text("type", "default"));
  if (kind == "linear") {
    rope.frequency_divisors = LinearDivisors(fields.Positive("factor"), dim);
  } else if (kind == "llama3") {
    Llama3Scaling scaling;
    scaling.factor = fields.Positive("factor");
    scaling.low_frequency_factor = fields.Positive("low_freq_factor");
    scaling.high_frequency_factor = fields.Positive("high_freq_factor");
    scaling.original_context = fields.Positive("original_max_position_embeddings");
    if (fields.status().ok() && scaling.high_frequency_factor <= scaling.low_frequency_factor) {
      fields.Invalid("high_freq_factor", "is not above low_freq_factor");
    }
    if (fields.status().ok()) rope.frequency_divisors = Llama3Divisors(rope.base, dim, scaling);
  } else if (kind != "default") {
    fields.Refuse("rope_type", kind, "use a model with default, linear or llama3 RoPE");
  }
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  return rope;
}

RopeConfig ReadGgufRope(FieldReader& fields, double default_base, int dim) {
  RopeConfig rope;
  rope.dim = dim;
  rope.base = fields.Positive("rope.freq_base", default_base);
  if (fields.Integer("rope.dimension_count", 1, INT64_MAX, dim) != dim) {
    fields.Refuse("rope.dimension_count", "not the head size", "use a model that rotates whole heads");
  }
  // Older converters wrote the factor alone, as rope.scale_linear.
  const char* factor_key = fields.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const std::string kind = fields.Text("rope.scaling.type", fields.Has(factor_key) ? "linear" : "none");
  if (kind == "linear") {
    const double factor = fields.Positive(factor_key, 1.0);
    if (factor != 1.0) rope.frequency_divisors = LinearDivisors(factor, dim);
  } else if (kind != "none") {
    fields.Refuse("rope.scaling.type", kind, "use a model with linear scaling or rope_freqs.weight");
  }
  return rope;
}

}  // namespace longspan
