#include "runtime/model/gguf.h"

#include <bit>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/gguf_cursor.h"

namespace longspan {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 20;

absl::string_view Absl(std::string_view text) { return absl::string_view(text.data(), text.size()); }

struct FileType {
  std::string_view name;
  std::optional<DType> dtype;  // empty: a type that Longspan does not read
};

FileType TensorType(uint32_t id) {
  switch (id) {
    case 0:
      return {"F32", DType::kF32};
    case 1:
      return {"F16", DType::kF16};
    case 2:
      return {"Q4_0", DType::kQ4_0};
    case 3:
      return {"Q4_1", DType::kQ4_1};
    case 6:
      return {"Q5_0", DType::kQ5_0};
    case 7:
      return {"Q5_1", DType::kQ5_1};
    case 8:
      return {"Q8_0", DType::kQ8_0};
    case 12:
      return {"Q4_K", DType::kQ4_K};
    case 13:
      return {"Q5_K", DType::kQ5_K};
    case 14:
      return {"Q6_K", DType::kQ6_K};
    case 26:
      return {"I32", DType::kI32};
    case 30:
      return {"BF16", DType::kBF16};
  }
  static constexpr std::pair<uint32_t, std::string_view> kOthers[] = {
      {9, "Q8_1"},    {10, "Q2_K"},    {11, "Q3_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"},
      {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
      {22, "IQ2_S"},  {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},    {27, "I64"},
      {28, "F64"},    {29, "IQ1_M"},   {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"},
  };
  for (const auto& [other, name] : kOthers) {
    if (other == id) return {name, std::nullopt};
  }
  return {"unknown", std::nullopt};
}

// The tensor's description; `offset` is set to where its data begins in the data section.
absl::StatusOr<TensorEntry> ReadTensorInfo(GgufCursor& cursor, const MappedFile& file, uint64_t* offset) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::string_view name, cursor.ReadName("a tensor's name"));
  const std::string what = absl::StrCat("tensor ", PrintableName(name));
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t dimensions, cursor.Read<uint32_t>(what));
  if (dimensions == 0 || dimensions > kMaxDimensions) {
    return cursor.Damaged(absl::StrCat(what, " has ", dimensions, " dimensions; 1 to 4 are allowed"));
  }
  TensorEntry entry;
  entry.name = std::string(name);
  entry.file = &file;
  // The file lists the contiguous dimension first.
  entry.shape.resize(dimensions);
  int64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    LONGSPAN_ASSIGN_OR_RETURN(const int64_t size, cursor.Read<int64_t>(what));
    if (size <= 0 || __builtin_mul_overflow(elements, size, &elements)) {
      return cursor.Damaged(absl::StrCat(what, " has the impossible dimension ", size));
    }
    entry.shape[dimensions - 1 - i] = size;
  }
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t type_id, cursor.Read<uint32_t>(what));
  const FileType type = TensorType(type_id);
  if (!type.dtype.has_value()) {
    return absl::UnimplementedError(absl::StrCat(file.path(), ": ", what, " has the format ",
                                                 std::string(type.name), " (type ", type_id,
                                                 "), which is not supported; convert the model to one of "
                                                 "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
                                                 "Q4_K, Q5_K, Q6_K"));
  }
  entry.dtype = *type.dtype;
  const DTypeTraits& traits = Traits(entry.dtype);
  if (entry.shape.back() % traits.block_elements != 0) {
    return cursor.Damaged(absl::StrCat(what, " has rows of ", entry.shape.back(),
                                       " values, not a multiple of ", std::string(type.name), "'s block of ",
                                       traits.block_elements));
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / traits.block_elements, int64_t{traits.block_bytes}, &bytes)) {
    return cursor.Damaged(absl::StrCat(what, " has ", elements, " elements, more than any file holds"));
  }
  entry.bytes = static_cast<size_t>(bytes);
  LONGSPAN_ASSIGN_OR_RETURN(*offset, cursor.Read<uint64_t>(what));
  return entry;
}

absl::Status CheckHeader(GgufCursor& cursor, const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t magic, cursor.Read<uint32_t>("the magic number"));
  if (std::memcmp(&magic, "GGUF", 4) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": is not a GGUF file (its first four bytes are not "
                                                   "GGUF); give a .gguf file or a Hugging Face folder"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t version, cursor.Read<uint32_t>("the version"));
  if (version == kVersion) return absl::OkStatus();
  if (version != 0 && (version & 0xffff) == 0) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": is a big-endian GGUF file, which is not supported; convert it to little-endian"));
  }
  return absl::UnimplementedError(absl::StrCat(path, ": has GGUF version ", version,
                                               "; only version 3 is supported, convert the file again"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::OpenOne(const std::string& path) {
  std::unique_ptr<GgufFile> gguf(new GgufFile());
  LONGSPAN_ASSIGN_OR_RETURN(gguf->file_, MappedFile::Open(path));
  GgufCursor cursor(*gguf->file_);
  LONGSPAN_RETURN_IF_ERROR(CheckHeader(cursor, path));
  LONGSPAN_ASSIGN_OR_RETURN(const uint64_t tensor_count, cursor.Read<uint64_t>("the number of tensors"));
  LONGSPAN_ASSIGN_OR_RETURN(const uint64_t key_count, cursor.Read<uint64_t>("the number of metadata keys"));

  // The counts are not trusted with an allocation: each turn consumes bytes of the file or ends.
  for (uint64_t i = 0; i < key_count; ++i) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::string_view key, cursor.ReadName("a metadata key"));
    const std::string what = absl::StrCat("metadata key ", PrintableName(key));
    LONGSPAN_ASSIGN_OR_RETURN(GgufValue value, ReadGgufValue(cursor, what));
    if (!gguf->metadata_.emplace(std::string(key), std::move(value)).second) {
      return cursor.Damaged(absl::StrCat(what, " appears twice"));
    }
  }

  uint64_t alignment = kDefaultAlignment;
  if (gguf->Has("general.alignment")) {
    LONGSPAN_ASSIGN_OR_RETURN(const int64_t value, gguf->Int("general.alignment"));
    if (value < 8 || value > static_cast<int64_t>(kMaxAlignment) ||
        !std::has_single_bit(static_cast<uint64_t>(value))) {
      return cursor.Damaged(absl::StrCat("general.alignment is ", value, "; a power of two from 8 to ",
                                         kMaxAlignment, " is expected"));
    }
    alignment = static_cast<uint64_t>(value);
  }

  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    uint64_t offset = 0;
    LONGSPAN_ASSIGN_OR_RETURN(TensorEntry entry, ReadTensorInfo(cursor, *gguf->file_, &offset));
    if (!gguf->tensor_index_.emplace(entry.name, gguf->tensors_.size()).second) {
      return cursor.Damaged(absl::StrCat("tensor ", PrintableName(entry.name), " appears twice"));
    }
    gguf->tensors_.push_back(std::move(entry));
    offsets.push_back(offset);
  }

  const std::span<const std::byte> bytes = gguf->file_->bytes();
  const uint64_t data_begin = (cursor.position() + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < offsets.size(); ++i) {
    TensorEntry& entry = gguf->tensors_[i];
    const uint64_t data_bytes = data_begin < bytes.size() ? bytes.size() - data_begin : 0;
    if (offsets[i] % alignment != 0 || offsets[i] > data_bytes || entry.bytes > data_bytes - offsets[i]) {
      return cursor.Damaged(absl::StrCat("the ", entry.bytes, " bytes of tensor ", PrintableName(entry.name),
                                         " at offset ", offsets[i], " do not lie, aligned to ", alignment,
                                         ", within the ", data_bytes, " bytes of data"));
    }
    entry.data = bytes.data() + data_begin + offsets[i];
  }
  return gguf;
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata_.find(Absl(key));
  return found == metadata_.end() ? nullptr : &found->second;
}

const TensorEntry* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(Absl(name));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

namespace {

absl::Status WrongType(const GgufFile& file, std::string_view key, std::string_view expected) {
  if (!file.Has(key)) {
    return absl::NotFoundError(absl::StrCat(file.path(), ": has no metadata key ", std::string(key),
                                            "; convert the model again with a current tool"));
  }
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": metadata key ", std::string(key), " is not ",
                                                 std::string(expected),
                                                 "; convert the model again with a current tool"));
}

template <typename T>
absl::StatusOr<const T*> Typed(const GgufFile& file, std::string_view key, std::string_view expected) {
  const GgufValue* value = file.Find(key);
  const T* typed = value == nullptr ? nullptr : std::get_if<T>(value);
  if (typed == nullptr) return WrongType(file, key, expected);
  return typed;
}

}  // namespace

absl::StatusOr<int64_t> GgufFile::Int(std::string_view key) const {
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t* value, Typed<int64_t>(*this, key, "an integer below 2^63"));
  return *value;
}

absl::StatusOr<double> GgufFile::Float(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value != nullptr && std::holds_alternative<int64_t>(*value)) {
    return static_cast<double>(std::get<int64_t>(*value));
  }
  LONGSPAN_ASSIGN_OR_RETURN(const double* number, Typed<double>(*this, key, "a number"));
  return *number;
}

absl::StatusOr<bool> GgufFile::Bool(std::string_view key) const {
  LONGSPAN_ASSIGN_OR_RETURN(const bool* value, Typed<bool>(*this, key, "a bool"));
  return *value;
}

absl::StatusOr<std::string_view> GgufFile::String(std::string_view key) const {
  LONGSPAN_ASSIGN_OR_RETURN(const std::string_view* value, Typed<std::string_view>(*this, key, "a string"));
  return *value;
}

absl::StatusOr<const std::vector<std::string_view>*> GgufFile::Strings(std::string_view key) const {
  return Typed<std::vector<std::string_view>>(*this, key, "an array of strings");
}

absl::StatusOr<const std::vector<double>*> GgufFile::Floats(std::string_view key) const {
  return Typed<std::vector<double>>(*this, key, "an array of floats");
}

absl::StatusOr<const std::vector<int64_t>*> GgufFile::Ints(std::string_view key) const {
  return Typed<std::vector<int64_t>>(*this, key, "an array of integers");
}

}  // namespace longspan
