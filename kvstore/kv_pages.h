// Where the pieces of a block lie in one rank's pages, and copies between pages and messages.
//
// A payload is pieces one after the other, by layer, then KV head, each in the canonical byte order of a
// piece (kernels/backend.h, KvLayout). A page holds the same bytes in the same order for the heads of its
// rank, so nothing is ever converted: a copy picks heads. With all heads of the rank a page's layers are one
// run of bytes, with fewer each layer is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/backend.h"
#include "kvstore/block_transfer.h"
#include "kvstore/kv_format.h"
#include "kvstore/shard_map.h"

namespace longspan {

// The pages of one rank.
struct KvPages {
  std::byte* base = nullptr;  // of page 0
  int64_t num_pages = 0;
  int layers_per_page = 1;
  HeadRange heads;  // of the model, which this rank holds
  KvLayout layout;  // of this rank
};

// Calls function(address, bytes) for the runs of memory that the pieces occupy, in the order of a payload,
// each as long as it can be. block_pages: [pages of a block], the numbers of the block's pages on this rank.
// The pieces are of heads of this rank and of layers that these pages hold.
void ForEachRun(const KvPages& pages, const PieceRange& pieces, std::span<const int32_t> block_pages,
                absl::FunctionRef<void(std::byte* address, size_t bytes)> function);

// The payload of the pieces as the spans to gather, without a copy. Of pages that the host can read.
std::vector<std::span<const std::byte>> PayloadSpans(const KvPages& pages, const PieceRange& pieces,
                                                     std::span<const int32_t> block_pages);

// Copies a payload, whose length must be that of the pieces, to pages that the host can write.
void CopyToPages(std::span<const std::byte> payload, const KvPages& pages, const PieceRange& pieces,
                 std::span<const int32_t> block_pages);

}  // namespace longspan
