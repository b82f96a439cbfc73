// Matrices as model files hold them, filled with random valid values, and what they mean in double precision:
// written from the descriptions of the GGUF block formats, apart from the kernels' unpacking.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/dtype.h"

namespace longspan {

// One weight. Block formats with a minimum are a sum of two terms; `magnitude` is the sum of their absolute
// values, on which rounding errors depend.
struct ReferenceValue {
  double value = 0;
  double magnitude = 0;
};

struct FileMatrix {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<std::byte> bytes;  // [rows][RowBytes(dtype, columns)]

  // The whole matrix, in one leaf. Refers to this matrix.
  WeightSlice Slice() const;
  ReferenceValue At(int64_t row, int64_t column) const;
};

// Weights of about 0.1; block formats with random quants, scales of both signs and, for K formats, random
// sub-scales.
FileMatrix RandomFileMatrix(DType dtype, int64_t rows, int64_t columns, uint64_t seed);

// How the CPU backend sees activations (CpuBackendOptions): rounded to bf16, or int8 with a scale for each
// group of 32 columns, given here as the values that they stand for. x: [rows, columns].
std::vector<double> ReferenceActivations(ActivationDType activation, const std::vector<float>& x,
                                         int64_t columns);

// x · weightᵀ for one row of activations. `magnitude` sums the absolute values of the terms.
ReferenceValue ReferenceDot(const FileMatrix& weight, int64_t row, const double* x);

// The formats that weights may have.
std::vector<DType> WeightDTypes();

}  // namespace longspan
