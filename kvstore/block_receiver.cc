#include "kvstore/block_receiver.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "kernels/check.h"

namespace longspan {
namespace {

// The order of HandoffPlan::Receives.
auto Key(const PieceRange& p) { return std::tuple(p.block, p.layer_group, p.heads.begin, p.layers.begin); }

}  // namespace

BlockReceiver::BlockReceiver(HandoffPlan plan, BlockReceiverOptions options)
    : plan_(std::move(plan)),
      options_(std::move(options)),
      expected_(plan_.Receives(options_.rank)),
      states_(expected_.size(), State::kMissing),
      num_missing_(std::ssize(expected_)) {
  LONGSPAN_CHECK(std::ssize(options_.block_hashes) == plan_.num_blocks());
}

std::optional<PieceRejection> BlockReceiver::Accept(std::span<const std::byte> header,
                                                    std::span<const std::byte> payload) {
  const std::lock_guard lock(mutex_);
  size_t index = 0;
  const std::optional<PieceRejection> rejection = Check(header, payload, &index);
  if (rejection.has_value()) return rejection;
  options_.store(expected_[index].pieces, payload);
  states_[index] = State::kStored;
  --num_missing_;
  stored_bytes_ += std::ssize(payload);
  return std::nullopt;
}

std::optional<PieceRejection> BlockReceiver::Check(std::span<const std::byte> header,
                                                   std::span<const std::byte> payload, size_t* index) {
  PieceMessage message;
  if (const auto rejection = DecodePieceHeader(header, &message); rejection.has_value()) return rejection;
  if (closed_ || message.handoff.token != options_.handoff.token) return PieceRejection::kToken;
  if (message.handoff.epoch != options_.handoff.epoch) return PieceRejection::kEpoch;
  const KvShape& shape = plan_.options().shape;
  if (message.dtype != shape.dtype || message.block_size != shape.block_size ||
      message.head_dim != shape.head_dim) {
    return PieceRejection::kFormat;
  }
  const auto found = std::lower_bound(
      expected_.begin(), expected_.end(), message.pieces,
      [](const BlockTransfer& transfer, const PieceRange& p) { return Key(transfer.pieces) < Key(p); });
  if (found == expected_.end() || found->pieces != message.pieces) return PieceRejection::kCoordinates;
  *index = static_cast<size_t>(found - expected_.begin());
  State& state = states_[*index];
  if (state == State::kStored) return PieceRejection::kDuplicate;

  // From here on the message is for pieces that are missing: if it is not what it should be, they are worth
  // asking for again. The checksum comes last, since it costs most.
  const PieceMessage wanted = DescribePieces(plan_, options_.handoff, options_.block_hashes, message.pieces);
  std::optional<PieceRejection> rejection;
  if (message.filled_tokens != wanted.filled_tokens) {
    rejection = PieceRejection::kFilled;
  } else if (payload.size() != wanted.payload_bytes) {
    rejection = PieceRejection::kLength;
  } else if (message.block_hash != wanted.block_hash) {
    rejection = PieceRejection::kHash;
  } else if (!IsIntact(header, payload)) {
    rejection = PieceRejection::kChecksum;
  } else {
    LONGSPAN_CHECK(message == wanted);
    return std::nullopt;
  }
  state = State::kRefused;
  return rejection;
}

bool BlockReceiver::complete() const {
  const std::lock_guard lock(mutex_);
  return num_missing_ == 0;
}

std::vector<BlockTransfer> BlockReceiver::Missing() const {
  const std::lock_guard lock(mutex_);
  std::vector<BlockTransfer> missing;
  for (size_t i = 0; i < expected_.size(); ++i) {
    if (states_[i] != State::kStored) missing.push_back(expected_[i]);
  }
  return missing;
}

std::vector<BlockTransfer> BlockReceiver::TakeRefused() {
  const std::lock_guard lock(mutex_);
  std::vector<BlockTransfer> refused;
  for (size_t i = 0; i < expected_.size(); ++i) {
    if (states_[i] != State::kRefused) continue;
    refused.push_back(expected_[i]);
    states_[i] = State::kMissing;
  }
  return refused;
}

void BlockReceiver::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

int64_t BlockReceiver::stored_bytes() const {
  const std::lock_guard lock(mutex_);
  return stored_bytes_;
}

}  // namespace longspan
