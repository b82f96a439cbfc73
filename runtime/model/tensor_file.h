// Named tensors in mapped files, whatever the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/dtype.h"

namespace longspan {

class MappedFile;

// One tensor of a model file. `data` points into `file`'s mapping.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       // outermost dimension first: a matrix is [rows, columns], rows contiguous
  const std::byte* data = nullptr;  // aligned to 8 bytes in GGUF files, to nothing in safetensors
  size_t bytes = 0;
  const MappedFile* file = nullptr;
};

}  // namespace longspan
