// The message that carries pieces of KV from a rank to a rank of another group: a header of fixed size and
// the payload (kv_pages.h), which a sender gathers from its pages.
//
// The header says all that decides whether these bytes are what a receiver waits for; its last field is the
// XXH3-128 of all before it and of the payload. That finds what chance changes on the way; the holder of the
// token is believed about what the KV of these tokens is. Integers are little-endian, without sign; hashes
// and checksums are their low 64 bits, then their high ones.
//
//   offset  bytes
//        0      4  magic, "LSKV"
//        4      4  version, 1
//        8     16  token of the handoff
//       24      8  epoch
//       32      8  block
//       40      4  layer group
//       44    2·4  layers of the group: first, end
//       52    2·4  KV heads of the model: first, end
//       60      4  tokens of the block that are filled
//       64      4  element type, numbered as in GGUF: 0 f32, 30 bf16
//       68      4  tokens of a block
//       72      4  head size
//       76      4  zero
//       80      8  bytes of the payload
//       88     16  block hash
//      104      8  zero
//      112     16  checksum
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/dtype.h"
#include "kvstore/block_hash.h"
#include "kvstore/block_transfer.h"

namespace longspan {

// 128 random bits, drawn for one attempt to hand off one request and never used again. Whoever does not know
// them cannot bring KV into the request, and what is late from an earlier attempt fits no later one.
using HandoffToken = std::array<std::byte, 16>;

struct HandoffId {
  HandoffToken token{};
  uint64_t epoch = 0;  // in which the attempt began
  bool operator==(const HandoffId&) const = default;
};

// What a header says.
struct PieceMessage {
  HandoffId handoff;
  PieceRange pieces;
  int filled_tokens = 0;
  DType dtype = DType::kBF16;
  int block_size = 0;  // tokens
  int head_dim = 0;
  uint64_t payload_bytes = 0;
  BlockHash block_hash;
  bool operator==(const PieceMessage&) const = default;
};

// Why a message was not accepted: the field that was wrong, the first in this order that a receiver finds.
enum class PieceRejection : uint8_t {
  kHeader,       // not a header of this version
  kToken,        // another handoff, or one that is over
  kEpoch,        // another epoch
  kFormat,       // another element type, block size or head size
  kCoordinates,  // pieces that this rank does not expect, or not in this division
  kDuplicate,    // pieces that it has already
  kFilled,       // another number of filled tokens
  kLength,       // a payload of another length
  kHash,         // KV of other tokens, or of another model
  kChecksum,     // bytes that changed on their way
};
inline constexpr int kPieceRejections = 10;
// "header", "token", …: for metrics and logs.
std::string_view PieceRejectionName(PieceRejection rejection);
using PieceRejectionCounts = std::array<int64_t, kPieceRejections>;  // of messages, by reason
void AddTo(PieceRejectionCounts* sum, const PieceRejectionCounts& counts);

inline constexpr size_t kPieceHeaderBytes = 128;
using PieceHeader = std::array<std::byte, kPieceHeaderBytes>;

// What the message of a transfer of this plan says. block_hashes: [blocks of the prompt].
PieceMessage DescribePieces(const HandoffPlan& plan, const HandoffId& handoff,
                            std::span<const BlockHash> block_hashes, const PieceRange& pieces);

// The header before this payload, given as spans to gather, in all message.payload_bytes long. Reads the
// payload once, for the checksum; it must not change until it is sent.
PieceHeader EncodePieceHeader(const PieceMessage& message,
                              std::span<const std::span<const std::byte>> payload);

// Reads a header, whoever wrote it. What it says is possible then (its ranges are not empty, its length is
// that of its pieces), and unproven until IsIntact. Says what is wrong otherwise, and leaves *message alone.
std::optional<PieceRejection> DecodePieceHeader(std::span<const std::byte> header, PieceMessage* message);

// Whether header and payload are those that were encoded together. The header has been decoded.
bool IsIntact(std::span<const std::byte> header, std::span<const std::byte> payload);

}  // namespace longspan
