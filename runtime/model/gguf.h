// GGUF version 3 files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata and tensors.
//
// A model may lie in several files, named …-00001-of-00003.gguf and so on; the first has the metadata.
// Every count, offset and length is checked against the file before it is used: a broken file ends in an
// error that names the file, the field and the value, and never allocates more than the file explains.
// Threads: immutable after Open; may be read from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/model/mapped_file.h"
#include "runtime/model/tensor_file.h"

namespace longspan {

// A metadata value. Strings and arrays of strings are views into the mapped file.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::vector<bool>,
                               std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>>;

class GgufFile {
 public:
  // Opens the file, and with the first of several parts the others too, which must lie beside it under their
  // own names. Another part than the first is an error that names the first.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const MappedFile& file() const { return *file_; }

  // Null when the file has no such key.
  const GgufValue* Find(std::string_view key) const;

  // Typed access. An absent key or one of another type is an error that names key and file.
  absl::StatusOr<int64_t> Int(std::string_view key) const;   // any integer type, range-checked
  absl::StatusOr<double> Float(std::string_view key) const;  // float or integer
  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<const std::vector<std::string_view>*> Strings(std::string_view key) const;
  absl::StatusOr<const std::vector<double>*> Floats(std::string_view key) const;
  absl::StatusOr<const std::vector<int64_t>*> Ints(std::string_view key) const;
  bool Has(std::string_view key) const { return Find(key) != nullptr; }

  const std::vector<TensorEntry>& tensors() const { return tensors_; }  // of all parts, in file order
  const TensorEntry* FindTensor(std::string_view name) const;           // null when absent

 private:
  GgufFile() = default;

  static absl::StatusOr<std::unique_ptr<GgufFile>> OpenOne(const std::string& path);
  // Opens the other parts and takes their tensors.
  absl::Status OpenParts(int64_t count);
  absl::Status TakePart(std::unique_ptr<GgufFile> part, int64_t number, int64_t count);

  std::unique_ptr<MappedFile> file_;
  absl::flat_hash_map<std::string, GgufValue> metadata_;
  std::vector<TensorEntry> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
  std::vector<std::unique_ptr<GgufFile>> parts_;  // after this one, which is the first
};

}  // namespace longspan
