#include "kvstore/block_inbox.h"

#include <utility>

#include "kernels/check.h"

namespace longspan {

std::shared_ptr<BlockReceiver> BlockInbox::Open(HandoffPlan plan, BlockReceiverOptions options) {
  const HandoffToken token = options.handoff.token;
  auto receiver = std::make_shared<BlockReceiver>(std::move(plan), std::move(options));
  const std::lock_guard lock(mutex_);
  LONGSPAN_CHECK(open_.emplace(token, receiver).second);
  return receiver;
}

void BlockInbox::Close(const HandoffId& handoff) {
  const std::shared_ptr<BlockReceiver> receiver = Find(handoff);
  if (receiver == nullptr) return;
  // A message that was on its way to the receiver finds it closed.
  receiver->Close();
  const std::lock_guard lock(mutex_);
  open_.erase(handoff.token);
}

std::optional<PieceRejection> BlockInbox::Accept(std::span<const std::byte> header,
                                                 std::span<const std::byte> payload) {
  PieceMessage message;
  if (const auto rejection = DecodePieceHeader(header, &message); rejection.has_value()) return rejection;
  const std::shared_ptr<BlockReceiver> receiver = Find(message.handoff);
  return receiver == nullptr ? PieceRejection::kToken : receiver->Accept(header, payload);
}

std::shared_ptr<BlockReceiver> BlockInbox::Find(const HandoffId& handoff) const {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(handoff.token);
  return found == open_.end() ? nullptr : found->second;
}

}  // namespace longspan
