// Where KV arrives at a rank: brings each message to the receiver of its handoff.
//
// A token opens nothing but its own handoff, and only while that is open: what is late, replayed or made up
// is refused, however well formed. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "kvstore/block_receiver.h"
#include "kvstore/piece_message.h"

namespace longspan {

class BlockInbox {
 public:
  // Begins a handoff, before its source is told to send. A token that is open already is a bug.
  std::shared_ptr<BlockReceiver> Open(HandoffPlan plan, BlockReceiverOptions options);
  // Ends a handoff, open or not; see BlockReceiver::Close.
  void Close(const HandoffId& handoff);

  // BlockReceiver::Accept of the handoff that the header names; kToken when none is open.
  std::optional<PieceRejection> Accept(std::span<const std::byte> header, std::span<const std::byte> payload);

 private:
  std::shared_ptr<BlockReceiver> Find(const HandoffId& handoff) const;

  mutable std::mutex mutex_;  // guards what follows; never held while a message is checked
  std::map<HandoffToken, std::shared_ptr<BlockReceiver>> open_;
};

}  // namespace longspan
