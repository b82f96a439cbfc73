// What one rank still has to get of a sequence that is handed off to its group, and the gate that all of it
// passes.
//
// Messages may come in any order, late, twice, damaged, from another handoff, or from nobody we know. Each is
// checked in its own buffer, whole, before a byte of it is stored; whatever is wrong with it, it changes no
// page, and the pieces that it claimed to bring stay missing. Threads: any; calls exclude each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "kvstore/block_hash.h"
#include "kvstore/block_transfer.h"
#include "kvstore/piece_message.h"

namespace longspan {

struct BlockReceiverOptions {
  HandoffId handoff;
  int rank = 0;                         // of the destination group
  std::vector<BlockHash> block_hashes;  // [blocks of the prompt]
  // Copies a proven payload to the pages reserved for these pieces (CopyToPages, where the host can write
  // them). Called within Accept, once for each transfer, and never after Close. Must not call the receiver.
  std::function<void(const PieceRange& pieces, std::span<const std::byte> payload)> store;
};

class BlockReceiver {
 public:
  BlockReceiver(HandoffPlan plan, BlockReceiverOptions options);

  // Stores the payload, or says why not. Neither buffer may change meanwhile, so not memory that a peer can
  // write; both are the caller's again afterwards.
  std::optional<PieceRejection> Accept(std::span<const std::byte> header, std::span<const std::byte> payload);

  // Everything is stored.
  bool complete() const;
  // What is not stored yet, from whom: all that it still waits for, or must ask for again when no more comes.
  std::vector<BlockTransfer> Missing() const;
  // What is missing and came damaged since the last call: to be asked for again at once.
  std::vector<BlockTransfer> TakeRefused();

  // Ends the handoff: complete, cancelled, or for another attempt with another token. Waits for a copy under
  // way; from then on nothing is stored, and the pages are whose they are.
  void Close();

  int64_t stored_bytes() const;

 private:
  enum class State : uint8_t { kMissing, kRefused, kStored };

  // What Accept says, and which of expected_ the message brings.
  std::optional<PieceRejection> Check(std::span<const std::byte> header, std::span<const std::byte> payload,
                                      size_t* index);

  const HandoffPlan plan_;
  const BlockReceiverOptions options_;
  const std::vector<BlockTransfer> expected_;  // ascending, see HandoffPlan::Receives

  mutable std::mutex mutex_;  // guards what follows, and is held while a payload is stored
  bool closed_ = false;
  std::vector<State> states_;  // [expected_]
  int64_t num_missing_ = 0;    // or refused
  int64_t stored_bytes_ = 0;
};

}  // namespace longspan
