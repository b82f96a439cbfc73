// How keys and values are stored: element types and the sizes that follow from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/dtype.h"

namespace longspan {

// "f32" or "bf16". InvalidArgument names the types there are.
absl::StatusOr<DType> ParseKvDType(std::string_view name);
// The inverse. A type that KV cannot have is a bug.
std::string_view KvDTypeName(DType dtype);

// Layers that one page holds: the largest number that divides the layers of every group, so that a block of
// any group is a whole number of pages. layer_counts: [layer groups], each at least 1.
int LayersPerPage(std::span<const int> layer_counts);

// Bytes of a page: one block of `layers_per_page` layers, all KV heads of this rank.
inline size_t PageBytes(const KvLayout& layout, int layers_per_page) {
  return layout.layer_bytes() * static_cast<size_t>(layers_per_page);
}

// The KV of a model, however it is laid out over ranks: what two groups that exchange KV have in common.
struct KvShape {
  struct LayerGroup {
    int layers = 0;
    int64_t window = 0;  // a token sees the last `window` positions, its own included; 0 = all
    bool operator==(const LayerGroup&) const = default;
  };

  int block_size = 64;  // tokens
  int kv_heads = 0;     // of the model
  int head_dim = 0;
  DType dtype = DType::kBF16;
  std::vector<LayerGroup> groups;

  size_t piece_bytes() const { return KvLayout{block_size, head_dim, kv_heads, dtype}.piece_bytes(); }
  bool operator==(const KvShape&) const = default;
};

}  // namespace longspan
