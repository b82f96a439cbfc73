// Model families: each translates a file's own settings into ModelConfig and names its weights.
//
// To add a family, write its two readers in a file of its own, declare them here and add a row to Families().
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/gguf.h"
#include "runtime/model/model_config.h"
#include "runtime/model/model_source.h"

namespace longspan {

struct WeightName {
  WeightRole role;
  std::string_view name;  // of a layer's weight: what follows the layer's number
};

struct WeightNames {
  std::string_view layer_prefix;  // as "blk.": layer 3's weights are named "blk.3." and then the name
  std::span<const WeightName> names;
};

// What a family says about a file. The binding of weights in model_source.cc needs nothing else.
struct FamilyModel {
  ModelConfig config;
  WeightNames weight_names;
  bool interleaved_rope = false;  // query and key rows pair 2i with 2i + 1 in the file
  // Tensors that are no weights: used when the configuration was read, or known to change nothing. Compared
  // with the end of a tensor's name.
  std::vector<std::string> other_tensors;
};

// A folder's config.json, and its generation_config.json or an empty object.
struct FolderConfig {
  std::string path;  // of the folder
  nlohmann::json config;
  nlohmann::json generation;

  std::string config_path() const { return path + "/config.json"; }
};

struct Family {
  std::string_view gguf_architecture;
  absl::StatusOr<FamilyModel> (*from_gguf)(const GgufFile& file);
  std::string_view model_type;  // in config.json
  absl::StatusOr<FamilyModel> (*from_folder)(const FolderConfig& folder);
};

std::span<const Family> Families();

absl::StatusOr<FamilyModel> LlamaFromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> LlamaFromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> Gemma3FromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> Gemma3FromFolder(const FolderConfig& folder);

// What families have in common.

// The names that llama.cpp's tools give to the weights of every family.
WeightNames GgufWeightNames();

// Sizes, context, epsilon, vocabulary, end-of-sequence tokens and name. The RoPE dimension is left to the
// family. Problems with settings are recorded in `fields`.
absl::Status ReadGgufShape(const GgufFile& file, FieldReader& fields, ModelConfig* config);
// `default_head_dim` 0 stands for hidden / heads.
absl::Status ReadFolderShape(const FolderConfig& folder, FieldReader& fields, int64_t default_head_dim,
                             ModelConfig* config);

// Refuses settings of config.json that would change every layer: quantisation, biases, soft-capping, partly
// rotated heads.
void RefuseUnsupported(FieldReader& fields);

// Fills groups and layer_group: layers for which `is_full` holds see everything with `full`, others the last
// `window` positions with `sliding`.
void GroupLayers(const std::vector<bool>& is_full, int64_t window, const RopeConfig& full,
                 const RopeConfig& sliding, ModelConfig* config);

}  // namespace longspan
