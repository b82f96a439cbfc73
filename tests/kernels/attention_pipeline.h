// Sharded attention of whole sequences, step by step, on any number of simulated ranks: each rank has pages
// of its own for its blocks alone, computes partials, and packs them for the others; each slice of the head
// outputs is merged from what all ranks sent.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "tests/support/test_device.h"

namespace longspan {

// What decides the result.
struct PipelineInput {
  int heads = 4, kv_heads = 1, head_dim = 64, block_size = 16;
  DType kv_dtype = DType::kBF16;
  int64_t window = 0;
  bool normed = false;                // norms of queries and keys
  std::vector<int64_t> lengths = {};  // tokens of each sequence
  uint64_t seed = 1;
};

// What must not change a bit of it (ways apart).
struct PipelineLayout {
  int kvp = 1;
  int ways = kReductionWays;
  int shift = 0;                         // of the first sequence; each next one has one more
  std::vector<int64_t> chunks = {};      // rows a sequence gets in its steps, in turn; empty: all at once
  std::vector<int64_t> slice_ends = {};  // of the head outputs, in columns; empty: one slice
  int pages_per_block = 1, page_column = 0;
  int64_t min_items = 1;
  int max_tile_rows = 8;
};

// [sum of lengths, heads * head_dim], sequence by sequence. All ranks run on the one device.
std::vector<float> RunPipeline(TestDevice& device, const PipelineInput& input, const PipelineLayout& layout);

}  // namespace longspan
