#include "kvstore/kv_pages.h"

#include <cstring>

#include "kernels/check.h"

namespace longspan {

void ForEachRun(const KvPages& pages, const PieceRange& pieces, std::span<const int32_t> block_pages,
                absl::FunctionRef<void(std::byte* address, size_t bytes)> function) {
  const HeadRange heads = pieces.heads;
  const LayerRange layers = pieces.layers;
  LONGSPAN_CHECK(pages.heads.begin <= heads.begin && heads.begin < heads.end && heads.end <= pages.heads.end);
  LONGSPAN_CHECK(pages.heads.end - pages.heads.begin == pages.layout.kv_heads);
  LONGSPAN_CHECK(0 <= layers.begin && layers.begin < layers.end &&
                 layers.end <= std::ssize(block_pages) * pages.layers_per_page);
  const size_t page_bytes = PageBytes(pages.layout, pages.layers_per_page);
  const size_t piece_bytes = pages.layout.piece_bytes();
  const size_t bytes = piece_bytes * static_cast<size_t>(heads.end - heads.begin);
  std::byte* run = nullptr;
  size_t run_bytes = 0;
  for (int layer = layers.begin; layer < layers.end; ++layer) {
    const int32_t page = block_pages[static_cast<size_t>(layer / pages.layers_per_page)];
    LONGSPAN_CHECK(page >= 0 && page < pages.num_pages);
    std::byte* const at = pages.base + static_cast<size_t>(page) * page_bytes +
                          static_cast<size_t>(layer % pages.layers_per_page) * pages.layout.layer_bytes() +
                          static_cast<size_t>(heads.begin - pages.heads.begin) * piece_bytes;
    if (at != run + run_bytes) {
      if (run_bytes > 0) function(run, run_bytes);
      run = at;
      run_bytes = 0;
    }
    run_bytes += bytes;
  }
  function(run, run_bytes);
}

std::vector<std::span<const std::byte>> PayloadSpans(const KvPages& pages, const PieceRange& pieces,
                                                     std::span<const int32_t> block_pages) {
  std::vector<std::span<const std::byte>> spans;
  ForEachRun(pages, pieces, block_pages,
             [&](const std::byte* address, size_t bytes) { spans.emplace_back(address, bytes); });
  return spans;
}

void CopyToPages(std::span<const std::byte> payload, const KvPages& pages, const PieceRange& pieces,
                 std::span<const int32_t> block_pages) {
  LONGSPAN_CHECK(payload.size() == static_cast<size_t>(pieces.pieces()) * pages.layout.piece_bytes());
  size_t at = 0;
  ForEachRun(pages, pieces, block_pages, [&](std::byte* address, size_t bytes) {
    std::memcpy(address, payload.data() + at, bytes);
    at += bytes;
  });
}

}  // namespace longspan
