// Element and block formats of tensors, as GGUF and safetensors files hold them.
//
// The block formats are those of the GGUF specification (ggml's quantisation types): a row of a
// matrix is cut into blocks of `block_elements` consecutive values, each stored in `block_bytes`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace longspan {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kU8,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

struct DTypeTraits {
  std::string_view name;  // as the field writes it: "F32", "Q4_K"
  int block_elements;     // 1 for plain types
  int block_bytes;        // bytes of one block
};

const DTypeTraits& Traits(DType dtype);

inline bool IsBlockFormat(DType dtype) { return Traits(dtype).block_elements > 1; }

// Bytes of `elements` consecutive values of one row. `elements` must be a multiple of the block.
inline size_t RowBytes(DType dtype, int64_t elements) {
  const DTypeTraits& traits = Traits(dtype);
  return static_cast<size_t>(elements / traits.block_elements) * static_cast<size_t>(traits.block_bytes);
}

}  // namespace longspan
