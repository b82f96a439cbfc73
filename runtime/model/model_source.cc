#include "runtime/model/model_source.h"

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/text_config.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/gguf_cursor.h"
#include "runtime/model/json_file.h"
#include "runtime/model/safetensors.h"

namespace longspan {
namespace {

constexpr int kGlobalRoles = static_cast<int>(WeightRole::kAttentionNorm);
constexpr int kLayerRoles = static_cast<int>(WeightRole::kPostFfnNorm) + 1 - kGlobalRoles;

bool IsGlobal(WeightRole role) { return static_cast<int>(role) < kGlobalRoles; }

// A role's place in the list of weights: those outside layers, then layer by layer.
size_t WeightIndex(WeightRole role, int layer) {
  if (IsGlobal(role)) return static_cast<size_t>(role);
  return static_cast<size_t>(layer) * kLayerRoles + static_cast<size_t>(role);
}

bool ConfigUses(const ModelConfig& config, WeightRole role) {
  switch (role) {
    case WeightRole::kOutput:
      return !config.tied_embedding;
    case WeightRole::kQueryBias:
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
      return config.qkv_bias;
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
      return config.qk_norm;
    case WeightRole::kPostAttentionNorm:
    case WeightRole::kPostFfnNorm:
      return config.post_norms;
    default:
      return true;
  }
}

bool IsVector(WeightRole role) {
  switch (role) {
    case WeightRole::kFinalNorm:
    case WeightRole::kAttentionNorm:
    case WeightRole::kQueryBias:
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kPostAttentionNorm:
    case WeightRole::kFfnNorm:
    case WeightRole::kPostFfnNorm:
      return true;
    default:
      return false;
  }
}

// What the configuration says a weight's shape is: [rows, columns], or [columns] for a vector.
std::vector<int64_t> ExpectedShape(const ModelConfig& config, WeightRole role) {
  const int64_t query_size = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  switch (role) {
    case WeightRole::kEmbedding:
    case WeightRole::kOutput:
      return {config.vocab_size, config.hidden_size};
    case WeightRole::kQuery:
      return {query_size, config.hidden_size};
    case WeightRole::kKey:
    case WeightRole::kValue:
      return {kv_size, config.hidden_size};
    case WeightRole::kAttentionOutput:
      return {config.hidden_size, query_size};
    case WeightRole::kGate:
    case WeightRole::kUp:
      return {config.ffn_size, config.hidden_size};
    case WeightRole::kDown:
      return {config.hidden_size, config.ffn_size};
    case WeightRole::kQueryBias:
      return {query_size};
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
      return {kv_size};
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
      return {config.head_dim};
    default:
      return {config.hidden_size};
  }
}

bool IsRotated(WeightRole role) {
  return role == WeightRole::kQuery || role == WeightRole::kKey || role == WeightRole::kQueryBias ||
         role == WeightRole::kKeyBias;
}

// Files of the Llama family in GGUF store a head's row i and row i + d/2 side by side.
std::vector<int32_t> UndoInterleaving(int64_t heads, int64_t head_dim) {
  std::vector<int32_t> order(static_cast<size_t>(heads * head_dim));
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < half; ++i) {
      order[static_cast<size_t>(head * head_dim + i)] = static_cast<int32_t>(head * head_dim + 2 * i);
      order[static_cast<size_t>(head * head_dim + half + i)] =
          static_cast<int32_t>(head * head_dim + 2 * i + 1);
    }
  }
  return order;
}

bool IsWeightFormat(DType dtype, bool vector) {
  if (dtype == DType::kI32 || dtype == DType::kU8) return false;
  return !vector || !IsBlockFormat(dtype);
}

bool IsOtherTensor(const FamilyModel& model, const std::string& name) {
  for (const std::string& ending : model.other_tensors) {
    if (absl::EndsWith(name, ending)) return true;
  }
  return false;
}

// Binds the weights of one configuration to the tensors of its files.
class WeightBinder {
 public:
  WeightBinder(const std::string& path, const FamilyModel& model, std::span<const TensorEntry> tensors)
      : path_(path), model_(model), tensors_(tensors) {
    for (const TensorEntry& tensor : tensors) by_name_.emplace(tensor.name, &tensor);
  }

  absl::StatusOr<std::vector<WeightView>> Bind() {
    const ModelConfig& config = model_.config;
    std::vector<WeightView> weights(WeightIndex(WeightRole::kAttentionNorm, config.num_layers));
    for (const auto& [role, name] : model_.weight_names.names) {
      if (!ConfigUses(config, role)) continue;
      const int layers = IsGlobal(role) ? 1 : config.num_layers;
      for (int layer = 0; layer < layers; ++layer) {
        const std::string full_name =
            IsGlobal(role)
                ? std::string(name)
                : absl::StrCat(std::string(model_.weight_names.layer_prefix), layer, ".", std::string(name));
        LONGSPAN_ASSIGN_OR_RETURN(weights[WeightIndex(role, layer)], BindOne(role, full_name));
      }
    }
    for (const TensorEntry& tensor : tensors_) {
      if (used_.contains(&tensor) || IsOtherTensor(model_, tensor.name)) continue;
      return absl::UnimplementedError(absl::StrCat(path_, ": tensor ", PrintableName(tensor.name),
                                                   " is not part of a ", config.family,
                                                   " model as Longspan computes it; use a model without it"));
    }
    return weights;
  }

 private:
  absl::StatusOr<WeightView> BindOne(WeightRole role, const std::string& name) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      return absl::NotFoundError(absl::StrCat(
          path_, ": tensor ", name, " is missing; the model is incomplete, copy or download it again"));
    }
    const TensorEntry& tensor = *found->second;
    const ModelConfig& config = model_.config;
    const std::vector<int64_t> shape = ExpectedShape(config, role);
    if (tensor.shape != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ": tensor ", name, " has shape [", absl::StrJoin(tensor.shape, ", "),
                       "] but the configuration says [", absl::StrJoin(shape, ", "),
                       "]; the files do not belong together, copy or download them again"));
    }
    const bool vector = IsVector(role);
    if (!IsWeightFormat(tensor.dtype, vector)) {
      return absl::UnimplementedError(
          absl::StrCat(path_, ": tensor ", name, " has the format ", std::string(Traits(tensor.dtype).name),
                       ", which is not supported for this weight; convert it to ",
                       vector ? "F32, F16 or BF16" : "a floating-point or block format"));
    }
    used_.insert(&tensor);
    WeightView view;
    view.entry = &tensor;
    view.rows = vector ? 1 : shape[0];
    view.columns = shape.back();
    if (model_.interleaved_rope && IsRotated(role)) {
      view.row_order = UndoInterleaving(shape[0] / config.head_dim, config.head_dim);
    }
    return view;
  }

  const std::string& path_;
  const FamilyModel& model_;
  std::span<const TensorEntry> tensors_;
  absl::flat_hash_map<std::string, const TensorEntry*> by_name_;
  absl::flat_hash_set<const TensorEntry*> used_;
};

absl::Status UnknownFamily(const std::string& where, const std::string& found, bool folder) {
  std::vector<std::string> supported;
  for (const Family& family : Families()) {
    supported.emplace_back(folder ? family.model_type : family.gguf_architecture);
  }
  return absl::UnimplementedError(absl::StrCat(
      where, " is ", found, ", which is not supported; supported are ", absl::StrJoin(supported, ", ")));
}

absl::StatusOr<FamilyModel> ReadGgufModel(const GgufFile& file) {
  GgufFieldReader fields(file, "");
  const std::string architecture = fields.Text("general.architecture", "absent");
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  if (file.tensors().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": holds a vocabulary alone and no tensors; give a file with the model's weights"));
  }
  if (const Family* family = FindGgufFamily(architecture)) return family->from_gguf(file);
  return UnknownFamily(fields.Describe("general.architecture"), PrintableName(architecture),
                       /*folder=*/false);
}

absl::StatusOr<FolderConfig> ReadFolderConfig(const std::string& path) {
  FolderConfig folder;
  folder.path = path;
  folder.generation = nlohmann::json::object();
  std::error_code error;
  if (!std::filesystem::exists(folder.config_path(), error)) {
    return absl::NotFoundError(
        absl::StrCat(path, ": has no config.json; give a Hugging Face folder or the path of a .gguf file"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(folder.config, ReadJsonObject(folder.config_path()));
  const std::string generation_path = path + "/generation_config.json";
  if (std::filesystem::exists(generation_path, error)) {
    LONGSPAN_ASSIGN_OR_RETURN(folder.generation, ReadJsonObject(generation_path));
  }
  return folder;
}

absl::StatusOr<FamilyModel> ReadFolderModel(const FolderConfig& folder) {
  JsonFieldReader fields(folder.config, folder.config_path());
  const std::string model_type = fields.Text("model_type", "absent");
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  if (const Family* family = FindFolderFamily(model_type)) return family->from_folder(folder);
  return UnknownFamily(fields.Describe("model_type"), PrintableName(model_type), /*folder=*/true);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> ModelSource::Open(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(path));
  std::unique_ptr<ModelSource> source(new ModelSource(std::move(files)));
  FamilyModel model;
  std::span<const TensorEntry> tensors;
  if (source->gguf() == nullptr) {
    LONGSPAN_ASSIGN_OR_RETURN(FolderConfig folder, ReadFolderConfig(path));
    const bool text_of_many = UseTextConfig(&folder.config);
    LONGSPAN_ASSIGN_OR_RETURN(model, ReadFolderModel(folder));
    LONGSPAN_ASSIGN_OR_RETURN(SafetensorsFolder weights, OpenSafetensorsFolder(path));
    if (text_of_many) KeepTextTensors(&weights.tensors);
    source->safetensors_files_ = std::move(weights.files);
    source->safetensors_ = std::move(weights.tensors);
    tensors = source->safetensors_;
  } else {
    LONGSPAN_ASSIGN_OR_RETURN(model, ReadGgufModel(*source->gguf()));
    tensors = source->gguf()->tensors();
  }
  LONGSPAN_ASSIGN_OR_RETURN(source->weights_, WeightBinder(path, model, tensors).Bind());
  source->config_ = std::move(model.config);
  return source;
}

WeightView ModelSource::Weight(WeightRole role, int layer) const {
  LONGSPAN_CHECK(IsGlobal(role) || (layer >= 0 && layer < config_.num_layers));
  const WeightView& weight = weights_[WeightIndex(role, layer)];
  LONGSPAN_CHECK(weight.entry != nullptr);
  return weight;
}

void ModelSource::Release(const WeightView& weight) const {
  weight.entry->file->Release({weight.entry->data, weight.entry->bytes});
}

size_t ModelSource::weight_bytes() const {
  size_t bytes = 0;
  for (const WeightView& weight : weights_) {
    if (weight.entry != nullptr) bytes += weight.entry->bytes;
  }
  return bytes;
}

std::vector<WeightView> ModelSource::AllWeights() const {
  std::vector<WeightView> weights;
  for (const WeightView& weight : weights_) {
    if (weight.entry != nullptr) weights.push_back(weight);
  }
  return weights;
}

}  // namespace longspan
