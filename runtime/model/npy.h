// Arrays in NumPy's .npy format, versions 1 and 2, in C order and little-endian
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
//
// Errors name the file, the problem and the remedy. Threads: no shared state; a writer belongs to one thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

struct NpyArray {
  std::vector<int64_t> shape;  // outermost dimension first; empty for a single number
  // As many values as the product of `shape`, the last dimension contiguous.
  std::variant<std::vector<int32_t>, std::vector<int64_t>, std::vector<uint32_t>, std::vector<float>> values;
};

// Reads int32, int64, uint32 or float32 arrays of any rank.
absl::StatusOr<NpyArray> ReadNpy(const std::string& path);

// The values of an array of any integer type; `origin` names it in the error for a float array.
absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array, const std::string& origin);

// Writes a float32 matrix a few rows at a time, without holding it.
class NpyWriter {
 public:
  // Replaces the file at `path`.
  static absl::StatusOr<std::unique_ptr<NpyWriter>> Create(const std::string& path, int64_t rows,
                                                           int64_t columns);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  // `values` is [n, columns]. Writing more rows than announced is a bug (CHECK).
  absl::Status Write(std::span<const float> values);

  // Closes the file; an error when rows are missing or the disk refused data. Nothing may be written after.
  absl::Status Finish();

 private:
  NpyWriter(std::string path, std::FILE* file, int64_t rows, int64_t columns)
      : path_(std::move(path)), file_(file), rows_(rows), columns_(columns) {}

  std::string path_;
  std::FILE* file_;
  int64_t rows_;
  int64_t columns_;
  int64_t rows_written_ = 0;
};

}  // namespace longspan
