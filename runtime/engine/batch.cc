#include "runtime/engine/batch.h"

#include <bit>
#include <cstring>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

// All integers are little-endian and stored one after the other; a list is its length as 32 bits, then its
// items.
static_assert(std::endian::native == std::endian::little);
constexpr uint32_t kMagic = 0x3242534c;  // "LSB2": the layout below

class Writer {
 public:
  explicit Writer(std::string* bytes) : bytes_(*bytes) {}

  template <typename T>
  void Put(T value) {
    static_assert(std::is_integral_v<T>);
    PutBytes(&value, sizeof(value));
  }
  template <typename T>
  void PutList(const std::vector<T>& values) {
    PutLength(values.size());
    PutBytes(values.data(), values.size() * sizeof(T));
  }
  void PutLength(size_t length) {
    LONGSPAN_CHECK(length <= UINT32_MAX);
    Put(static_cast<uint32_t>(length));
  }

 private:
  void PutBytes(const void* data, size_t size) { bytes_.append(static_cast<const char*>(data), size); }
  std::string& bytes_;
};

// Reads zeros once the bytes have run out or a value was impossible; ok() tells at the end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Get() {
    static_assert(std::is_integral_v<T>);
    T value = 0;
    if (Need(sizeof(T))) {
      std::memcpy(&value, bytes_.data(), sizeof(T));
      bytes_.remove_prefix(sizeof(T));
    }
    return value;
  }
  // A number that is never negative.
  template <typename T>
  T GetCount() {
    const T value = Get<T>();
    if (value < 0) Fail();
    return ok_ ? value : 0;
  }
  bool GetFlag() {
    const auto value = Get<uint8_t>();
    if (value > 1) Fail();
    return value == 1;
  }
  template <typename T>
  std::vector<T> GetList() {
    std::vector<T> values(GetLength(sizeof(T)));
    if (!values.empty()) std::memcpy(values.data(), bytes_.data(), values.size() * sizeof(T));
    bytes_.remove_prefix(values.size() * sizeof(T));
    return values;
  }
  // The length of a list whose items take `item_bytes` at least, so that a wrong length cannot ask for more
  // memory than the message has.
  size_t GetLength(size_t item_bytes) {
    const size_t length = Get<uint32_t>();
    return Need(length * item_bytes) ? length : 0;
  }
  void Fail() { ok_ = false; }
  bool ok() const { return ok_; }
  size_t remaining() const { return bytes_.size(); }

 private:
  bool Need(size_t size) {
    if (size > bytes_.size()) Fail();
    return ok_;
  }
  std::string_view bytes_;
  bool ok_ = true;
};

constexpr size_t kGrantBytes = 16;     // without its pages
constexpr size_t kSequenceBytes = 30;  // without its lists' items

void PutGrant(Writer& writer, const BlockGrant& grant) {
  writer.Put(grant.layer_group);
  writer.Put(grant.block_index);
  writer.PutList(grant.pages);
}

BlockGrant GetGrant(Reader& reader) {
  BlockGrant grant;
  grant.layer_group = reader.GetCount<int32_t>();
  grant.block_index = reader.GetCount<int64_t>();
  grant.pages = reader.GetList<int32_t>();
  return grant;
}

void PutSequence(Writer& writer, const BatchSequence& sequence) {
  writer.Put(sequence.slot);
  writer.Put(static_cast<uint8_t>(sequence.starts));
  writer.Put(sequence.shift);
  writer.Put(sequence.first_position);
  writer.PutList(sequence.tokens);
  writer.Put(static_cast<uint8_t>(sequence.logits));
  writer.PutLength(sequence.grants.size());
  for (const BlockGrant& grant : sequence.grants) PutGrant(writer, grant);
  writer.PutList(sequence.first_live_blocks);
}

BatchSequence GetSequence(Reader& reader) {
  BatchSequence sequence;
  sequence.slot = reader.GetCount<int32_t>();
  sequence.starts = reader.GetFlag();
  sequence.shift = reader.GetCount<int32_t>();
  sequence.first_position = reader.GetCount<int64_t>();
  sequence.tokens = reader.GetList<int32_t>();
  const auto logits = reader.Get<uint8_t>();
  if (logits > static_cast<uint8_t>(LogitRows::kAll)) reader.Fail();
  sequence.logits = static_cast<LogitRows>(logits);
  sequence.grants.resize(reader.GetLength(kGrantBytes));
  for (BlockGrant& grant : sequence.grants) grant = GetGrant(reader);
  sequence.first_live_blocks = reader.GetList<int64_t>();
  return sequence;
}

constexpr size_t kAddressBytes = 4;
constexpr size_t kOrderBytes = 69;  // without its lists' items

void PutOrder(Writer& writer, const KvOrder& order) {
  writer.Put(static_cast<uint8_t>(order.kind));
  for (const std::byte part : order.peer.handoff.token) writer.Put(static_cast<uint8_t>(part));
  writer.Put(order.peer.handoff.epoch);
  writer.Put(order.peer.grid.tp);
  writer.Put(order.peer.grid.kvp);
  writer.Put(order.peer.shift);
  writer.PutLength(order.peer.addresses.size());
  for (const std::string& address : order.peer.addresses) {
    writer.PutList(std::vector<char>(address.begin(), address.end()));
  }
  writer.Put(order.slot);
  writer.Put(order.shift);
  writer.Put(order.tokens);
  std::vector<uint64_t> hashes;
  for (const BlockHash& hash : order.hashes) hashes.insert(hashes.end(), {hash.low, hash.high});
  writer.PutList(hashes);
  writer.PutLength(order.grants.size());
  for (const BlockGrant& grant : order.grants) PutGrant(writer, grant);
  writer.PutList(order.first_live_blocks);
}

KvOrder GetOrder(Reader& reader) {
  KvOrder order;
  const auto kind = reader.Get<uint8_t>();
  if (kind > static_cast<uint8_t>(KvOrder::Kind::kClose)) reader.Fail();
  order.kind = static_cast<KvOrder::Kind>(kind);
  for (std::byte& part : order.peer.handoff.token) part = static_cast<std::byte>(reader.Get<uint8_t>());
  order.peer.handoff.epoch = reader.Get<uint64_t>();
  order.peer.grid.tp = reader.GetCount<int>();
  order.peer.grid.kvp = reader.GetCount<int>();
  order.peer.shift = reader.GetCount<int>();
  order.peer.addresses.resize(reader.GetLength(kAddressBytes));
  for (std::string& address : order.peer.addresses) {
    const std::vector<char> bytes = reader.GetList<char>();
    address.assign(bytes.begin(), bytes.end());
  }
  order.slot = reader.GetCount<int32_t>();
  order.shift = reader.GetCount<int32_t>();
  order.tokens = reader.GetCount<int64_t>();
  const std::vector<uint64_t> hashes = reader.GetList<uint64_t>();
  for (size_t i = 0; i + 1 < hashes.size(); i += 2) order.hashes.push_back({hashes[i], hashes[i + 1]});
  order.grants.resize(reader.GetLength(kGrantBytes));
  for (BlockGrant& grant : order.grants) grant = GetGrant(reader);
  order.first_live_blocks = reader.GetList<int64_t>();
  return order;
}

}  // namespace

int64_t StepBatch::NumTokens() const {
  int64_t count = 0;
  for (const BatchSequence& sequence : sequences) count += static_cast<int64_t>(sequence.tokens.size());
  return count;
}

int64_t BatchSequence::NumLogitRows() const {
  if (logits == LogitRows::kNone) return 0;
  return logits == LogitRows::kAll ? static_cast<int64_t>(tokens.size()) : 1;
}

int64_t StepBatch::NumLogitRows() const {
  int64_t count = 0;
  for (const BatchSequence& sequence : sequences) count += sequence.NumLogitRows();
  return count;
}

void StepBatch::AppendTo(std::string* bytes) const {
  Writer writer(bytes);
  writer.Put(kMagic);
  writer.Put(step);
  writer.Put(static_cast<uint8_t>(shutdown));
  writer.PutLength(kv_orders.size());
  for (const KvOrder& order : kv_orders) PutOrder(writer, order);
  writer.PutLength(sequences.size());
  for (const BatchSequence& sequence : sequences) PutSequence(writer, sequence);
}

absl::StatusOr<StepBatch> StepBatch::Parse(std::string_view bytes) {
  Reader reader(bytes);
  if (reader.Get<uint32_t>() != kMagic) {
    return absl::InvalidArgumentError(absl::StrCat("a message of ", bytes.size(),
                                                   " bytes is no batch: do all ranks run the same version?"));
  }
  StepBatch batch;
  batch.step = reader.GetCount<int64_t>();
  batch.shutdown = reader.GetFlag();
  batch.kv_orders.resize(reader.GetLength(kOrderBytes));
  for (KvOrder& order : batch.kv_orders) order = GetOrder(reader);
  batch.sequences.resize(reader.GetLength(kSequenceBytes));
  for (BatchSequence& sequence : batch.sequences) sequence = GetSequence(reader);
  if (!reader.ok() || reader.remaining() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch of step ", batch.step, ": its ", bytes.size(),
                     " bytes are cut off or damaged: check the connection of the ranks"));
  }
  return batch;
}

}  // namespace longspan
