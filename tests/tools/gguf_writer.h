// Writes GGUF version 3 files for tests, streaming the data of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/dtype.h"

namespace longspan {

class GgufWriter {
 public:
  void AddString(const std::string& key, const std::string& value);
  void AddUint32(const std::string& key, uint32_t value);
  void AddFloat32(const std::string& key, float value);
  void AddStrings(const std::string& key, const std::vector<std::string>& values);
  void AddFloat32s(const std::string& key, const std::vector<float>& values);
  void AddInt32s(const std::string& key, const std::vector<int32_t>& values);

  // `shape` has the outermost dimension first. Tensors are written in the order they are added.
  void AddTensor(const std::string& name, DType dtype, const std::vector<int64_t>& shape);

  // Writes the next bytes of a tensor: a whole number of blocks.
  using Fill = std::function<void(size_t tensor, std::span<std::byte> out)>;

  // Replaces the file at `path`. `fill` is called for each tensor in turn, for pieces of about a MiB.
  absl::Status Write(const std::string& path, const Fill& fill) const;

 private:
  struct Tensor {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    size_t bytes;
  };

  std::string metadata_;
  uint64_t num_keys_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace longspan
