#include "kvstore/block_transfer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("KV handoff: ", parts...));
}

absl::Status ValidateShape(const KvShape& shape) {
  if (shape.block_size < 1) return Invalid("a block of ", shape.block_size, " tokens; use at least 1");
  if (shape.kv_heads < 1 || shape.head_dim < 1) {
    return Invalid(shape.kv_heads, " KV heads of size ", shape.head_dim,
                   "; a model has at least one of each");
  }
  if (shape.groups.empty()) return Invalid("no layer groups; a model has at least one");
  for (const KvShape::LayerGroup& group : shape.groups) {
    if (group.layers < 1) return Invalid("a layer group of ", group.layers, " layers; use at least 1");
    if (group.window < 0) return Invalid("a window of ", group.window, " tokens; use 0 for none");
  }
  return absl::OkStatus();
}

absl::Status ValidatePlacement(const char* side, const KvPlacement& placement, int kv_heads) {
  const auto [tp, kvp] = placement.grid;
  if (tp < 1 || kvp < 1) return Invalid("a ", side, " of ", tp, " x ", kvp, " ranks; use at least 1 x 1");
  if (kv_heads % tp != 0) {
    return Invalid("a ", side, " of tp ", tp, ", which does not divide the model's ", kv_heads, " KV heads");
  }
  if (placement.shift < 0 || placement.shift >= kvp) {
    return Invalid("a ", side, " with shift ", placement.shift, "; with kvp ", kvp, " it is 0 to ", kvp - 1);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<HandoffPlan> HandoffPlan::Create(HandoffOptions options) {
  LONGSPAN_RETURN_IF_ERROR(ValidateShape(options.shape));
  LONGSPAN_RETURN_IF_ERROR(ValidatePlacement("source", options.source, options.shape.kv_heads));
  LONGSPAN_RETURN_IF_ERROR(ValidatePlacement("destination", options.destination, options.shape.kv_heads));
  // A bound far above any context, below which no product here can overflow.
  constexpr int64_t kMostTokens = int64_t{1} << 32;
  if (options.tokens < 1 || options.tokens > kMostTokens) {
    return Invalid("a prompt of ", options.tokens, " tokens; use 1 to ", kMostTokens);
  }
  if (options.max_transfer_bytes < 1) {
    return Invalid("transfers of at most ", options.max_transfer_bytes, " bytes; use at least 1");
  }
  return HandoffPlan(std::move(options));
}

BlockRange HandoffPlan::VisibleBlocks(int layer_group) const {
  const KvShape& shape = options_.shape;
  const int64_t window = shape.groups[static_cast<size_t>(layer_group)].window;
  return {FirstVisibleBlock(options_.tokens, window, shape.block_size), num_blocks()};
}

int HandoffPlan::FilledTokens(int64_t block) const {
  LONGSPAN_CHECK(block >= 0 && block < num_blocks());
  const int block_size = options_.shape.block_size;
  return static_cast<int>(std::min<int64_t>(block_size, options_.tokens - block * block_size));
}

int64_t HandoffPlan::total_bytes() const {
  const KvShape& shape = options_.shape;
  int64_t pieces = 0;
  for (int g = 0; g < std::ssize(shape.groups); ++g) {
    const BlockRange visible = VisibleBlocks(g);
    pieces += (visible.end - visible.begin) * shape.groups[static_cast<size_t>(g)].layers * shape.kv_heads;
  }
  return pieces * static_cast<int64_t>(shape.piece_bytes());
}

std::vector<BlockTransfer> HandoffPlan::Sends(int source_rank, int64_t sent, int64_t computed) const {
  LONGSPAN_CHECK(source_rank >= 0 && source_rank < options_.source.grid.ranks());
  LONGSPAN_CHECK(sent >= 0 && sent <= computed && computed <= options_.tokens);
  const auto final_blocks = [this](int64_t positions) {
    return positions == options_.tokens ? num_blocks() : positions / options_.shape.block_size;
  };
  const RankGrid& grid = options_.source.grid;
  std::vector<BlockTransfer> transfers;
  for (int64_t block = final_blocks(sent); block < final_blocks(computed); ++block) {
    if (BlockOwner(block, options_.source.shift, grid.kvp) != grid.KvpRank(source_rank)) continue;
    for (int g = 0; g < std::ssize(options_.shape.groups); ++g) {
      for (int tp = 0; tp < options_.destination.grid.tp; ++tp) {
        AppendTransfers(block, grid.TpRank(source_rank), tp, g, transfers);
      }
    }
  }
  return transfers;
}

std::vector<BlockTransfer> HandoffPlan::Receives(int destination_rank) const {
  LONGSPAN_CHECK(destination_rank >= 0 && destination_rank < options_.destination.grid.ranks());
  const RankGrid& grid = options_.destination.grid;
  std::vector<BlockTransfer> transfers;
  for (int64_t block = 0; block < num_blocks(); ++block) {
    if (BlockOwner(block, options_.destination.shift, grid.kvp) != grid.KvpRank(destination_rank)) continue;
    for (int g = 0; g < std::ssize(options_.shape.groups); ++g) {
      for (int tp = 0; tp < options_.source.grid.tp; ++tp) {
        AppendTransfers(block, tp, grid.TpRank(destination_rank), g, transfers);
      }
    }
  }
  return transfers;
}

void HandoffPlan::AppendTransfers(int64_t block, int source_tp, int destination_tp, int layer_group,
                                  std::vector<BlockTransfer>& transfers) const {
  if (block < VisibleBlocks(layer_group).begin) return;
  const auto& [shape, source, destination, tokens, max_bytes] = options_;
  const HeadRange ours = HeadsOf(source_tp, source.grid.tp, shape.kv_heads);
  const HeadRange theirs = HeadsOf(destination_tp, destination.grid.tp, shape.kv_heads);
  const HeadRange heads = {std::max(ours.begin, theirs.begin), std::min(ours.end, theirs.end)};
  if (heads.begin >= heads.end) return;

  BlockTransfer transfer;
  transfer.source_rank = source.grid.Rank(source_tp, BlockOwner(block, source.shift, source.grid.kvp));
  transfer.destination_rank =
      destination.grid.Rank(destination_tp, BlockOwner(block, destination.shift, destination.grid.kvp));
  // All heads of as many layers as fit, or, when one layer is too large, as many heads of one layer.
  const int layers = shape.groups[static_cast<size_t>(layer_group)].layers;
  const int64_t max_pieces = std::max<int64_t>(1, max_bytes / static_cast<int64_t>(shape.piece_bytes()));
  const int head_step = static_cast<int>(std::min<int64_t>(heads.end - heads.begin, max_pieces));
  const int layer_step =
      static_cast<int>(std::clamp<int64_t>(max_pieces / (heads.end - heads.begin), 1, layers));
  for (int head = heads.begin; head < heads.end; head += head_step) {
    for (int layer = 0; layer < layers; layer += layer_step) {
      transfer.pieces = {block,
                         layer_group,
                         {head, std::min(head + head_step, heads.end)},
                         {layer, std::min(layer + layer_step, layers)}};
      transfers.push_back(transfer);
    }
  }
}

}  // namespace longspan
