#include "kvstore/piece_message.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "kernels/check.h"
#include "kvstore/xxh3.h"

namespace longspan {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr uint32_t kMagic = 0x564b534c;  // "LSKV"
constexpr uint32_t kVersion = 1;
constexpr size_t kChecksumOffset = kPieceHeaderBytes - 16;

constexpr std::array<std::pair<DType, uint32_t>, 2> kElementTypes = {{{DType::kF32, 0}, {DType::kBF16, 30}}};

class HeaderWriter {
 public:
  explicit HeaderWriter(PieceHeader* header) : at_(header->data()), end_(at_ + header->size()) {}
  ~HeaderWriter() { LONGSPAN_CHECK(at_ == end_); }

  void Put(const void* data, size_t bytes) {
    LONGSPAN_CHECK(bytes <= static_cast<size_t>(end_ - at_));
    std::memcpy(at_, data, bytes);
    at_ += bytes;
  }
  void PutU32(uint32_t value) { Put(&value, sizeof value); }
  void PutU64(uint64_t value) { Put(&value, sizeof value); }
  void PutCount(int64_t value) {
    LONGSPAN_CHECK(value >= 0 && value <= std::numeric_limits<int32_t>::max());
    PutU32(static_cast<uint32_t>(value));
  }

 private:
  std::byte* at_;
  std::byte* const end_;
};

class HeaderReader {
 public:
  explicit HeaderReader(std::span<const std::byte> header) : rest_(header) {}

  void Get(void* data, size_t bytes) {
    LONGSPAN_CHECK(bytes <= rest_.size());
    std::memcpy(data, rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
  }
  uint32_t GetU32() {
    uint32_t value;
    Get(&value, sizeof value);
    return value;
  }
  uint64_t GetU64() {
    uint64_t value;
    Get(&value, sizeof value);
    return value;
  }
  // A number that is never negative; -1 for one too large.
  int GetCount() {
    const uint32_t value = GetU32();
    return value <= uint32_t{std::numeric_limits<int32_t>::max()} ? static_cast<int>(value) : -1;
  }

 private:
  std::span<const std::byte> rest_;
};

uint32_t ElementTypeNumber(DType dtype) {
  for (const auto& [known, number] : kElementTypes) {
    if (known == dtype) return number;
  }
  LONGSPAN_CHECK(!"a type that KV is never stored in");
  return 0;
}

std::optional<DType> ElementType(uint32_t number) {
  for (const auto& [dtype, known] : kElementTypes) {
    if (known == number) return dtype;
  }
  return std::nullopt;
}

// Whether `payload_bytes` is that of the pieces, without overflow: counts are below 2^31.
bool LengthFits(const PieceMessage& m) {
  uint64_t bytes = static_cast<uint64_t>(m.pieces.layers.end - m.pieces.layers.begin) *
                   static_cast<uint64_t>(m.pieces.heads.end - m.pieces.heads.begin);
  for (const int factor : {m.block_size, m.head_dim, 2 * Traits(m.dtype).block_bytes}) {
    const auto count = static_cast<uint64_t>(factor);
    if (bytes > std::numeric_limits<uint64_t>::max() / count) return false;
    bytes *= count;
  }
  return bytes == m.payload_bytes;
}

}  // namespace

std::string_view PieceRejectionName(PieceRejection rejection) {
  constexpr std::array<std::string_view, kPieceRejections> kNames = {
      "header",    "token",  "epoch",  "format", "coordinates",
      "duplicate", "filled", "length", "hash",   "checksum"};
  return kNames[static_cast<size_t>(rejection)];
}

void AddTo(PieceRejectionCounts* sum, const PieceRejectionCounts& counts) {
  std::transform(counts.begin(), counts.end(), sum->begin(), sum->begin(), std::plus<>());
}

PieceMessage DescribePieces(const HandoffPlan& plan, const HandoffId& handoff,
                            std::span<const BlockHash> block_hashes, const PieceRange& pieces) {
  LONGSPAN_CHECK(std::ssize(block_hashes) == plan.num_blocks());
  const KvShape& shape = plan.options().shape;
  PieceMessage message;
  message.handoff = handoff;
  message.pieces = pieces;
  message.filled_tokens = plan.FilledTokens(pieces.block);
  message.dtype = shape.dtype;
  message.block_size = shape.block_size;
  message.head_dim = shape.head_dim;
  message.payload_bytes = static_cast<uint64_t>(plan.TransferBytes(pieces));
  message.block_hash = block_hashes[static_cast<size_t>(pieces.block)];
  return message;
}

PieceHeader EncodePieceHeader(const PieceMessage& message,
                              std::span<const std::span<const std::byte>> payload) {
  PieceHeader header;
  HeaderWriter writer(&header);
  writer.PutU32(kMagic);
  writer.PutU32(kVersion);
  writer.Put(message.handoff.token.data(), message.handoff.token.size());
  writer.PutU64(message.handoff.epoch);
  LONGSPAN_CHECK(message.pieces.block >= 0);
  writer.PutU64(static_cast<uint64_t>(message.pieces.block));
  writer.PutCount(message.pieces.layer_group);
  writer.PutCount(message.pieces.layers.begin);
  writer.PutCount(message.pieces.layers.end);
  writer.PutCount(message.pieces.heads.begin);
  writer.PutCount(message.pieces.heads.end);
  writer.PutCount(message.filled_tokens);
  writer.PutU32(ElementTypeNumber(message.dtype));
  writer.PutCount(message.block_size);
  writer.PutCount(message.head_dim);
  writer.PutU32(0);
  writer.PutU64(message.payload_bytes);
  writer.PutU64(message.block_hash.low);
  writer.PutU64(message.block_hash.high);
  writer.PutU64(0);

  Xxh3 checksum;
  checksum.Add(std::span(header).first(kChecksumOffset));
  uint64_t payload_bytes = 0;
  for (const std::span<const std::byte> span : payload) {
    checksum.Add(span);
    payload_bytes += span.size();
  }
  LONGSPAN_CHECK(payload_bytes == message.payload_bytes && LengthFits(message));
  for (const uint64_t half : checksum.Digest()) writer.PutU64(half);
  return header;
}

std::optional<PieceRejection> DecodePieceHeader(std::span<const std::byte> header, PieceMessage* message) {
  if (header.size() != kPieceHeaderBytes) return PieceRejection::kHeader;
  HeaderReader reader(header);
  if (reader.GetU32() != kMagic || reader.GetU32() != kVersion) return PieceRejection::kHeader;
  PieceMessage m;
  reader.Get(m.handoff.token.data(), m.handoff.token.size());
  m.handoff.epoch = reader.GetU64();
  const uint64_t block = reader.GetU64();
  m.pieces.layer_group = reader.GetCount();
  m.pieces.layers.begin = reader.GetCount();
  m.pieces.layers.end = reader.GetCount();
  m.pieces.heads.begin = reader.GetCount();
  m.pieces.heads.end = reader.GetCount();
  m.filled_tokens = reader.GetCount();
  const std::optional<DType> dtype = ElementType(reader.GetU32());
  m.block_size = reader.GetCount();
  m.head_dim = reader.GetCount();
  const uint32_t zero = reader.GetU32();
  m.payload_bytes = reader.GetU64();
  m.block_hash.low = reader.GetU64();
  m.block_hash.high = reader.GetU64();
  if (zero != 0 || reader.GetU64() != 0) return PieceRejection::kHeader;

  if (!dtype.has_value() || m.block_size < 1 || m.head_dim < 1) return PieceRejection::kFormat;
  m.dtype = *dtype;
  if (block > uint64_t{std::numeric_limits<int64_t>::max()} || m.pieces.layer_group < 0 ||
      m.pieces.layers.begin < 0 || m.pieces.layers.begin >= m.pieces.layers.end || m.pieces.heads.begin < 0 ||
      m.pieces.heads.begin >= m.pieces.heads.end) {
    return PieceRejection::kCoordinates;
  }
  m.pieces.block = static_cast<int64_t>(block);
  if (m.filled_tokens < 1 || m.filled_tokens > m.block_size) return PieceRejection::kFilled;
  if (!LengthFits(m)) return PieceRejection::kLength;
  *message = m;
  return std::nullopt;
}

bool IsIntact(std::span<const std::byte> header, std::span<const std::byte> payload) {
  LONGSPAN_CHECK(header.size() == kPieceHeaderBytes);
  Xxh3 checksum;
  checksum.Add(header.first(kChecksumOffset));
  checksum.Add(payload);
  std::array<uint64_t, 2> sent;
  std::memcpy(sent.data(), header.data() + kChecksumOffset, sizeof sent);
  return checksum.Digest() == sent;
}

}  // namespace longspan
