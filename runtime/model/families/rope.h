// Rotary embedding settings of model files, resolved into one base, one divisor for each frequency and a
// magnitude.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/families/family.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/model_config.h"

namespace longspan {

// Scaling by wavelength as Llama 3.1 defines it: frequencies whose wavelength is long against the original
// context are divided by `factor`, short ones are kept, and those between are interpolated.
struct Llama3Scaling {
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_context = 8192;  // tokens
};
std::vector<double> Llama3Divisors(double base, int dim, const Llama3Scaling& scaling);

// YaRN (arXiv 2309.00071): frequencies that turn more than beta_fast times within the original context are
// kept, those that turn less than beta_slow times are divided by `factor`; between them a linear ramp over
// the dimensions, whose ends are whole dimensions if `whole_ends`.
struct YarnScaling {
  double factor = 1;
  double original_context = 0;  // tokens
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole_ends = true;
};
std::vector<double> YarnDivisors(double base, int dim, const YarnScaling& scaling);
// What YaRN multiplies queries and keys with: 0.1 · weight · ln(factor) + 1, or 1 up to a factor of 1.
double YarnMagnitude(double factor, double weight);

// The object of config.json that holds RoPE settings: rope_scaling in older files, else rope_parameters. An
// empty object when the file has neither. `place` is its name with a dot, for messages.
struct RopeObject {
  const nlohmann::json* json = nullptr;
  std::string place;
};
absl::StatusOr<RopeObject> FindRopeObject(const FolderConfig& folder);

// Reads an object with rope_type (or type) default, linear, llama3 or yarn, and what that kind needs. `base`
// is used unless the object has its own rope_theta. config->max_context grows to what YaRN extends it to.
absl::StatusOr<RopeConfig> ReadRope(const FolderConfig& folder, const RopeObject& object, double base,
                                    ModelConfig* config);

// One RoPE for all layers: rope_theta, or `default_base`, and the object that FindRopeObject finds.
absl::StatusOr<RopeConfig> ReadFolderRope(const FolderConfig& folder, FieldReader& fields,
                                          double default_base, ModelConfig* config);

// From a GGUF file's rope.* settings, `fields` being those of the architecture: rope.freq_base or
// `default_base`, linear or YaRN scaling, and the divisors in rope_freqs.weight. max_context grows as above.
absl::StatusOr<RopeConfig> ReadGgufRope(const GgufFile& file, FieldReader& fields, double default_base,
                                        ModelConfig* config);
// The tensor with divisors of the frequencies, into which converters resolve Llama 3's scaling.
inline constexpr char kRopeFrequencies[] = "rope_freqs.weight";

}  // namespace longspan
