// Which KV goes from which rank of one group to which rank of another when a sequence is handed off.
//
// A plan is the intersection of two layouts, block by block. It is a pure value: both ends make the same plan
// of the same numbers, so that neither has to tell the other what it sends or expects. Every piece that a
// coming token can see is in exactly one transfer; no KV head is on two ranks of a group (CanSplitHeads), so
// none has to be chosen from. Any layout may hand off to any other.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/kv_format.h"
#include "kvstore/kv_geometry.h"
#include "kvstore/shard_map.h"

namespace longspan {

// Layers [begin, end), counted within their layer group.
struct LayerRange {
  int begin = 0;
  int end = 0;
  bool operator==(const LayerRange&) const = default;
};

// Pieces of one block of one layer group: some of its layers times some KV heads of the model.
struct PieceRange {
  int64_t block = 0;
  int layer_group = 0;
  HeadRange heads;
  LayerRange layers;

  int64_t pieces() const {
    return static_cast<int64_t>(layers.end - layers.begin) * (heads.end - heads.begin);
  }
  bool operator==(const PieceRange&) const = default;
};

// Pieces that travel together, between a rank of the source group and a rank of the destination group.
struct BlockTransfer {
  PieceRange pieces;
  int source_rank = 0;
  int destination_rank = 0;
  bool operator==(const BlockTransfer&) const = default;
};

// How a group lays out the KV of one sequence.
struct KvPlacement {
  RankGrid grid;
  int shift = 0;
};

struct HandoffOptions {
  KvShape shape;
  KvPlacement source, destination;
  int64_t tokens = 0;  // of the prompt, all of which the source computes
  // A transfer is as large as the layouts allow up to this many bytes, but at least one piece: what is sent
  // again after an error, and what a receiver must buffer.
  int64_t max_transfer_bytes = int64_t{1} << 20;
};

class HandoffPlan {
 public:
  // InvalidArgument names the value that no handoff can have.
  static absl::StatusOr<HandoffPlan> Create(HandoffOptions options);

  const HandoffOptions& options() const { return options_; }
  int64_t num_blocks() const { return BlocksFor(options_.tokens, options_.shape.block_size); }
  // The blocks that the first token after the prompt, or a later one, can see: those that move.
  BlockRange VisibleBlocks(int layer_group) const;
  // Tokens of the prompt in this block: block_size, or fewer in the last one.
  int FilledTokens(int64_t block) const;
  int64_t TransferBytes(const PieceRange& pieces) const {
    return pieces.pieces() * static_cast<int64_t>(options_.shape.piece_bytes());
  }
  // Of all transfers: visible blocks times layers times KV heads times the bytes of a piece.
  int64_t total_bytes() const;

  // What a source rank can send once the positions before `computed` are in its pages, and could not while
  // only those before `sent` were: blocks that became full and, at the prompt's end, the last one. A block
  // that was sent does not change any more. With 0 and `tokens`, all that it ever sends.
  std::vector<BlockTransfer> Sends(int source_rank, int64_t sent, int64_t computed) const;
  // What a destination rank must get. Ascending by block, layer group, first head, first layer, as are Sends
  // to one destination.
  std::vector<BlockTransfer> Receives(int destination_rank) const;

 private:
  explicit HandoffPlan(HandoffOptions options) : options_(std::move(options)) {}
  // What of a block goes from a source to a destination tp rank, one after the other.
  void AppendTransfers(int64_t block, int source_tp, int destination_tp, int layer_group,
                       std::vector<BlockTransfer>& transfers) const;

  HandoffOptions options_;
};

}  // namespace longspan
