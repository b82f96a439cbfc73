// A non-owning view of a matrix in device memory.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace longspan {

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;  // elements from one row to the next

  bool empty() const { return data == nullptr || rows == 0 || columns == 0; }
};

inline Tensor MakeTensor(void* data, DType dtype, int64_t rows, int64_t columns) {
  return Tensor{data, dtype, rows, columns, columns};
}

}  // namespace longspan
