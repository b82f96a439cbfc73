// Two groups of ranks with real pages, the source's full of known bytes, for tests that hand a sequence off.
#pragma once

#include <cstring>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "kvstore/block_hash.h"
#include "kvstore/block_transfer.h"
#include "kvstore/kv_pages.h"
#include "kvstore/piece_message.h"
#include "tests/support/random_values.h"

namespace longspan {

// In [low, high].
inline int64_t Uniform(RandomValues& random, int64_t low, int64_t high) {
  return low + random.Below(high - low + 1);
}

// All grids of 1 to 8 ranks whose tp divides the heads.
inline std::vector<RankGrid> Grids(int kv_heads) {
  std::vector<RankGrid> grids;
  for (int tp = 1; tp <= 8; ++tp) {
    for (int kvp = 1; tp * kvp <= 8; ++kvp) {
      if (kv_heads % tp == 0) grids.push_back({tp, kvp});
    }
  }
  return grids;
}

// One rank to one rank, three blocks of which the last has one token.
inline HandoffOptions SmallHandoff() {
  HandoffOptions options;
  options.shape = {.block_size = 4, .kv_heads = 2, .head_dim = 2, .groups = {{.layers = 2}}};
  options.tokens = 9;
  return options;
}

inline int LayersPerPage(const KvShape& shape) {
  std::vector<int> counts;
  for (const KvShape::LayerGroup& group : shape.groups) counts.push_back(group.layers);
  return LayersPerPage(counts);
}

// One rank's pages of one sequence, numbered at random, in memory that begins with garbage.
class RankStore {
 public:
  RankStore(const KvShape& shape, const KvPlacement& placement, int rank, int64_t tokens,
            RandomValues& random) {
    const RankGrid& grid = placement.grid;
    pages_.layers_per_page = LayersPerPage(shape);
    pages_.heads = HeadsOf(grid.TpRank(rank), grid.tp, shape.kv_heads);
    pages_.layout = {shape.block_size, shape.head_dim, pages_.heads.end - pages_.heads.begin, shape.dtype};
    for (int64_t block = 0; block * shape.block_size < tokens; ++block) {
      if (BlockOwner(block, placement.shift, grid.kvp) != grid.KvpRank(rank)) continue;
      for (int g = 0; g < std::ssize(shape.groups); ++g) {
        const int columns = shape.groups[static_cast<size_t>(g)].layers / pages_.layers_per_page;
        std::vector<int32_t>& numbers = numbers_[{g, block}];
        for (int c = 0; c < columns; ++c) numbers.push_back(static_cast<int32_t>(pages_.num_pages++));
      }
    }
    const std::vector<int32_t> order = random.Permutation(static_cast<int32_t>(pages_.num_pages));
    for (auto& [where, numbers] : numbers_) {
      for (int32_t& number : numbers) number = order[static_cast<size_t>(number)];
    }
    bytes_.resize(static_cast<size_t>(pages_.num_pages) * PageBytes(pages_.layout, pages_.layers_per_page));
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random.Bits());
    pages_.base = bytes_.data();
  }
  RankStore(RankStore&&) = default;

  const KvPages& pages() const { return pages_; }
  const std::vector<int32_t>& block_pages(int layer_group, int64_t block) const {
    return numbers_.at({layer_group, block});
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  // Where kernels find a piece (KvLayer), worked out on its own.
  std::byte* Piece(int layer_group, int64_t block, int layer, int head) {
    const size_t piece_bytes = pages_.layout.piece_bytes();
    const size_t layer_bytes = piece_bytes * static_cast<size_t>(pages_.layout.kv_heads);
    const auto column = static_cast<size_t>(layer / pages_.layers_per_page);
    const auto page = static_cast<size_t>(numbers_.at({layer_group, block})[column]);
    return &bytes_[page * layer_bytes * static_cast<size_t>(pages_.layers_per_page) +
                   layer_bytes * static_cast<size_t>(layer % pages_.layers_per_page) +
                   piece_bytes * static_cast<size_t>(head - pages_.heads.begin)];
  }

 private:
  KvPages pages_;
  std::map<std::pair<int, int64_t>, std::vector<int32_t>> numbers_;  // by layer group and block
  std::vector<std::byte> bytes_;
};

// A message as a transport delivers it: the header, and the payload in one piece.
struct Delivery {
  BlockTransfer transfer;
  std::vector<std::byte> header, payload;
};

struct HandoffWorld {
  HandoffWorld(const HandoffOptions& options, RandomValues& random) : plan(*HandoffPlan::Create(options)) {
    for (std::byte& byte : id.token) byte = static_cast<std::byte>(random.Bits());
    id.epoch = random.Bits();
    for (int64_t i = 0; i < options.tokens; ++i)
      tokens.push_back(static_cast<int32_t>(random.Bits() % 50000));
    hashes = HashBlocks(HashRoot("model", "tenant"), tokens, options.shape.block_size);
    for (int r = 0; r < options.source.grid.ranks(); ++r) {
      sources.emplace_back(options.shape, options.source, r, options.tokens, random);
    }
    for (int r = 0; r < options.destination.grid.ranks(); ++r) {
      destinations.emplace_back(options.shape, options.destination, r, options.tokens, random);
    }
  }

  Delivery Send(const BlockTransfer& transfer) const {
    const RankStore& store = sources[static_cast<size_t>(transfer.source_rank)];
    const auto spans = PayloadSpans(store.pages(), transfer.pieces,
                                    store.block_pages(transfer.pieces.layer_group, transfer.pieces.block));
    const PieceHeader header = EncodePieceHeader(DescribePieces(plan, id, hashes, transfer.pieces), spans);
    Delivery delivery = {transfer, {header.begin(), header.end()}, {}};
    for (const auto span : spans) delivery.payload.insert(delivery.payload.end(), span.begin(), span.end());
    return delivery;
  }

  void Store(int rank, const PieceRange& pieces, std::span<const std::byte> payload) {
    RankStore& store = destinations[static_cast<size_t>(rank)];
    CopyToPages(payload, store.pages(), pieces, store.block_pages(pieces.layer_group, pieces.block));
  }

  std::span<std::byte> Piece(std::vector<RankStore>& stores, const KvPlacement& placement, int layer_group,
                             int64_t block, int layer, int head) const {
    const KvShape& shape = plan.options().shape;
    const RankGrid& grid = placement.grid;
    const int tp_rank = head / (shape.kv_heads / grid.tp);
    const int rank = grid.Rank(tp_rank, BlockOwner(block, placement.shift, grid.kvp));
    return {stores[static_cast<size_t>(rank)].Piece(layer_group, block, layer, head), shape.piece_bytes()};
  }
  // Whether these pieces are the same bytes at both ends.
  bool Arrived(const PieceRange& pieces) {
    for (int layer = pieces.layers.begin; layer < pieces.layers.end; ++layer) {
      for (int head = pieces.heads.begin; head < pieces.heads.end; ++head) {
        const auto at = [&](std::vector<RankStore>& stores, const KvPlacement& placement) {
          return Piece(stores, placement, pieces.layer_group, pieces.block, layer, head);
        };
        const auto from = at(sources, plan.options().source),
                   to = at(destinations, plan.options().destination);
        if (std::memcmp(from.data(), to.data(), from.size()) != 0) return false;
      }
    }
    return true;
  }

  HandoffPlan plan;
  HandoffId id;
  std::vector<int32_t> tokens;
  std::vector<BlockHash> hashes;
  std::vector<RankStore> sources, destinations;
};

}  // namespace longspan
