#include "tests/tools/gguf_writer.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

constexpr size_t kAlignment = 32;
constexpr uint32_t kTypeUint32 = 4;
constexpr uint32_t kTypeInt32 = 5;
constexpr uint32_t kTypeFloat32 = 6;
constexpr uint32_t kTypeString = 8;
constexpr uint32_t kTypeArray = 9;

template <typename T>
void Append(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendString(std::string* out, const std::string& text) {
  Append(out, static_cast<uint64_t>(text.size()));
  out->append(text);
}

void AppendArrayHead(std::string* out, const std::string& key, uint32_t type, size_t count) {
  AppendString(out, key);
  Append(out, kTypeArray);
  Append(out, type);
  Append(out, static_cast<uint64_t>(count));
}

uint32_t TypeId(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ5_0:
      return 6;
    case DType::kQ5_1:
      return 7;
    case DType::kQ8_0:
      return 8;
    case DType::kQ4_K:
      return 12;
    case DType::kQ5_K:
      return 13;
    case DType::kQ6_K:
      return 14;
    case DType::kI32:
      return 26;
    case DType::kBF16:
      return 30;
    case DType::kU8:
      break;
  }
  return UINT32_MAX;
}

size_t Padding(size_t size) { return (kAlignment - size % kAlignment) % kAlignment; }

}  // namespace

void GgufWriter::AddString(const std::string& key, const std::string& value) {
  AppendString(&metadata_, key);
  Append(&metadata_, kTypeString);
  AppendString(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddUint32(const std::string& key, uint32_t value) {
  AppendString(&metadata_, key);
  Append(&metadata_, kTypeUint32);
  Append(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddFloat32(const std::string& key, float value) {
  AppendString(&metadata_, key);
  Append(&metadata_, kTypeFloat32);
  Append(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddStrings(const std::string& key, const std::vector<std::string>& values) {
  AppendArrayHead(&metadata_, key, kTypeString, values.size());
  for (const std::string& value : values) AppendString(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddFloat32s(const std::string& key, const std::vector<float>& values) {
  AppendArrayHead(&metadata_, key, kTypeFloat32, values.size());
  for (const float value : values) Append(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddInt32s(const std::string& key, const std::vector<int32_t>& values) {
  AppendArrayHead(&metadata_, key, kTypeInt32, values.size());
  for (const int32_t value : values) Append(&metadata_, value);
  ++num_keys_;
}

void GgufWriter::AddTensor(const std::string& name, DType dtype, const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  tensors_.push_back({name, dtype, shape, RowBytes(dtype, elements)});
}

absl::Status GgufWriter::Write(const std::string& path, const Fill& fill) const {
  std::string header = "GGUF";
  Append(&header, uint32_t{3});
  Append(&header, static_cast<uint64_t>(tensors_.size()));
  Append(&header, num_keys_);
  header += metadata_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    AppendString(&header, tensor.name);
    Append(&header, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i > 0; --i)
      Append(&header, static_cast<uint64_t>(tensor.shape[i - 1]));
    Append(&header, TypeId(tensor.dtype));
    Append(&header, offset);
    offset += tensor.bytes + Padding(tensor.bytes);
  }
  header.append(Padding(header.size()), '\0');

  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < tensors_.size() && file; ++i) {
    const size_t block_bytes = static_cast<size_t>(Traits(tensors_[i].dtype).block_bytes);
    const size_t piece_bytes = (size_t{1} << 20) / block_bytes * block_bytes;
    for (size_t done = 0; done < tensors_[i].bytes; done += buffer.size()) {
      buffer.resize(std::min(piece_bytes, tensors_[i].bytes - done));
      fill(i, buffer);
      file.write(reinterpret_cast<const char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
    }
    static constexpr char kZeros[kAlignment] = {};
    file.write(kZeros, static_cast<std::streamsize>(Padding(tensors_[i].bytes)));
  }
  file.close();
  if (!file) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot write; check the folder and the space left"));
  }
  return absl::OkStatus();
}

}  // namespace longspan
