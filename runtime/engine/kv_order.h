// What the ranks of a group are told about KV that moves between groups. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvstore/block_hash.h"
#include "kvstore/block_table.h"
#include "kvstore/piece_message.h"
#include "kvstore/shard_map.h"

namespace longspan {

// The other end of a handoff, as one end needs to know it.
struct KvPeer {
  HandoffId handoff;
  RankGrid grid;
  int shift = 0;
  std::vector<std::string> addresses;  // [ranks], of transports
};

// How a handoff went at all ranks of the group that receives.
struct KvArrival {
  bool complete = false;     // else it is given up
  int64_t useful_bytes = 0;  // that were wanted
  int64_t moved_bytes = 0;   // payloads that came, also damaged and repeated ones
  PieceRejectionCounts refused_pieces = {};
  // The engine's: from being ready to the arrival, and the part of it after the source had computed all.
  double seconds = 0, exposed_seconds = 0;
};

// Carried out by every rank before the step that it comes with computes anything, in order.
struct KvOrder {
  enum class Kind : uint8_t {
    kReceive,     // the slot's blocks are there; the peer may send
    kSend,        // the slot's blocks, as they are computed
    kSourceDone,  // the peer has computed all: what does not come is to be asked for
    kClose,       // nothing of the slot's pages is read or written from here on
  };
  Kind kind = Kind::kClose;
  KvPeer peer;  // of kSourceDone and kClose only the handoff
  int32_t slot = 0;
  int32_t shift = 0;                       // of the slot
  int64_t tokens = 0;                      // of the prompt
  std::vector<BlockHash> hashes;           // [blocks of the prompt]
  std::vector<BlockGrant> grants;          // kReceive: the slot is new, and has these
  std::vector<int64_t> first_live_blocks;  // kReceive: [layer groups]
};

}  // namespace longspan
