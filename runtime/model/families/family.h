// Model families: each translates a file's own settings into ModelConfig. runtime/model/README.md tells how
// to add one.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/families/weight_names.h"
#include "runtime/model/gguf.h"
#include "runtime/model/model_config.h"

namespace longspan {

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

// Null when no family has it.
const Family* FindGgufFamily(std::string_view architecture);
const Family* FindFolderFamily(std::string_view model_type);

absl::StatusOr<FamilyModel> LlamaFromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> LlamaFromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> MistralFromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> MistralFromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> Qwen2FromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> Qwen2FromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> Qwen3FromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> Qwen3FromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> Gemma2FromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> Gemma2FromFolder(const FolderConfig& folder);
absl::StatusOr<FamilyModel> Gemma3FromGguf(const GgufFile& file);
absl::StatusOr<FamilyModel> Gemma3FromFolder(const FolderConfig& folder);

}  // namespace longspan
