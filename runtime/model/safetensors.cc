#include "runtime/model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/json_file.h"

namespace longspan {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxDimensions = 8;

absl::Status Damaged(const MappedFile& file, const std::string& problem) {
  return absl::DataLossError(absl::StrCat(file.path(), ": ", problem,
                                          "; the file is truncated or damaged, copy or download it again"));
}

std::optional<DType> ParseDType(std::string_view name) {
  static constexpr DType kReadable[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kU8};
  for (const DType dtype : kReadable) {
    if (name == Traits(dtype).name) return dtype;
  }
  return std::nullopt;
}

// A list of non-negative integers that fit int64_t, or nothing.
std::optional<std::vector<int64_t>> ParseSizes(const json& list) {
  if (!list.is_array()) return std::nullopt;
  std::vector<int64_t> sizes;
  for (const json& size : list) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return std::nullopt;
    }
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

const json* Member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

absl::StatusOr<TensorEntry> ParseTensor(const MappedFile& file, std::span<const std::byte> data,
                                        const std::string& name, const json& description) {
  const json* dtype = description.is_object() ? Member(description, "dtype") : nullptr;
  const json* shape = description.is_object() ? Member(description, "shape") : nullptr;
  const json* offsets = description.is_object() ? Member(description, "data_offsets") : nullptr;
  if (dtype == nullptr || shape == nullptr || offsets == nullptr || !dtype->is_string()) {
    return Damaged(file, absl::StrCat("tensor ", name, " has no dtype, shape and data_offsets"));
  }
  const std::string dtype_name = dtype->get<std::string>();
  const std::optional<DType> parsed_dtype = ParseDType(dtype_name);
  if (!parsed_dtype.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat(file.path(), ": tensor ", name, " has the format ", dtype_name,
                     ", which is not supported; convert the model to one of F32, F16, "
                     "BF16"));
  }
  std::optional<std::vector<int64_t>> sizes = ParseSizes(*shape);
  const std::optional<std::vector<int64_t>> range = ParseSizes(*offsets);
  if (!sizes.has_value() || sizes->size() > kMaxDimensions || !range.has_value() || range->size() != 2) {
    return Damaged(file, absl::StrCat("tensor ", name, " has an impossible shape or data_offsets"));
  }
  int64_t bytes = Traits(*parsed_dtype).block_bytes;
  for (const int64_t size : *sizes) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return Damaged(file, absl::StrCat("tensor ", name, " has a shape whose size overflows"));
    }
  }
  const int64_t begin = (*range)[0];
  const int64_t end = (*range)[1];
  if (begin > end || end > static_cast<int64_t>(data.size()) || end - begin != bytes) {
    return Damaged(
        file, absl::StrCat("tensor ", name, " needs ", bytes, " bytes, its data_offsets are ", begin, " to ",
                           end, ", and the file holds ", data.size(), " bytes of data"));
  }
  TensorEntry entry;
  entry.name = name;
  entry.dtype = *parsed_dtype;
  entry.shape = *std::move(sizes);
  entry.data = data.data() + begin;
  entry.bytes = static_cast<size_t>(bytes);
  entry.file = &file;
  return entry;
}

bool Exists(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// The tensor's name to the name of the file that holds it.
absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ReadIndex(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const json index, ReadJsonObject(path));
  const json* map = Member(index, "weight_map");
  if (map == nullptr || !map->is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": has no weight_map; copy or download it again"));
  }
  absl::flat_hash_map<std::string, std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || std::filesystem::path(name).filename() != name || name == "..") {
      return absl::DataLossError(
          absl::StrCat(path, ": weight_map places ", tensor, " in ",
                       file.dump(-1, ' ', true, json::error_handler_t::replace),
                       ", which is not the name of a file in the same folder; copy or download it again"));
    }
    files.emplace(tensor, name);
  }
  return files;
}

absl::StatusOr<std::set<std::string>> ListFiles(const std::string& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".safetensors") names.insert(entry->path().filename());
  }
  if (error)
    return absl::UnavailableError(absl::StrCat(folder, ": cannot list the folder: ", error.message()));
  if (names.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder, ": has no *.safetensors file; put the model's weights into the folder"));
  }
  return names;
}

}  // namespace

absl::StatusOr<std::vector<TensorEntry>> ReadSafetensors(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  uint64_t header_bytes = 0;
  if (bytes.size() < kLengthBytes) return Damaged(file, absl::StrCat("has only ", bytes.size(), " bytes"));
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (header_bytes > bytes.size() - kLengthBytes || header_bytes > kMaxHeaderBytes) {
    return Damaged(file,
                   absl::StrCat("claims a header of ", header_bytes, " bytes in a file of ", bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  LONGSPAN_ASSIGN_OR_RETURN(const json header,
                            ParseJsonObject(text, absl::StrCat(file.path(), ": the header")));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  std::vector<TensorEntry> tensors;
  for (const auto& [name, description] : header.items()) {
    if (name == "__metadata__") continue;
    LONGSPAN_ASSIGN_OR_RETURN(TensorEntry entry, ParseTensor(file, data, name, description));
    tensors.push_back(std::move(entry));
  }
  return tensors;
}

absl::StatusOr<SafetensorsFolder> OpenSafetensorsFolder(const std::string& folder) {
  const std::filesystem::path base(folder);
  const std::string index_path = base / "model.safetensors.index.json";
  absl::flat_hash_map<std::string, std::string> index;
  std::set<std::string> names;
  if (Exists(base / "model.safetensors")) {
    names.insert("model.safetensors");
  } else if (Exists(index_path)) {
    LONGSPAN_ASSIGN_OR_RETURN(index, ReadIndex(index_path));
    for (const auto& [tensor, name] : index) names.insert(name);
  } else {
    LONGSPAN_ASSIGN_OR_RETURN(names, ListFiles(folder));
  }

  SafetensorsFolder result;
  absl::flat_hash_map<std::string, std::string> found;  // tensor to file
  for (const std::string& name : names) {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(base / name));
    LONGSPAN_ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors, ReadSafetensors(*file));
    for (TensorEntry& tensor : tensors) {
      const auto [other, inserted] = found.emplace(tensor.name, name);
      if (!inserted) {
        return absl::InvalidArgumentError(
            absl::StrCat(folder, ": tensor ", tensor.name, " is both in ", other->second, " and in ", name,
                         "; remove the file that does not belong to the model"));
      }
      result.tensors.push_back(std::move(tensor));
    }
    result.files.push_back(std::move(file));
  }
  for (const auto& [tensor, name] : index) {
    const auto holder = found.find(tensor);
    if (holder == found.end() || holder->second != name) {
      return absl::DataLossError(absl::StrCat(index_path, ": places tensor ", tensor, " in ", name,
                                              ", which does not hold it; copy or download the folder again"));
    }
  }
  return result;
}

}  // namespace longspan
