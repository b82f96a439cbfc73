// Rotary embedding settings of model files, resolved into one base and one divisor for each frequency.
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

// The object of config.json that holds the RoPE settings: rope_parameters, or rope_scaling in older files. An
// empty object when the file has neither. `place` is set to its name with a dot, for messages.
absl::StatusOr<const nlohmann::json*> FindRopeObject(const FolderConfig& folder, std::string* place);

// Reads an object with rope_type (or type) and what that kind needs: default, linear or llama3. `base` is
// used unless the object has its own rope_theta.
absl::StatusOr<RopeConfig> ReadRope(const nlohmann::json& object, const std::string& origin,
                                    const std::string& place, double base, int dim);

// From a GGUF file's rope.* settings, `fields` being those of the architecture: rope.freq_base or
// `default_base`, and linear scaling. Another kind is recorded as refused.
RopeConfig ReadGgufRope(FieldReader& fields, double default_base, int dim);

}  // namespace longspan
