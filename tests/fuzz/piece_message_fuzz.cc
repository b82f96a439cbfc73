// What a peer may send as KV: a header, then a payload. The receiver waits for pieces of a small handoff
// whose token and hashes are zero.
#include <algorithm>
#include <span>

#include "kernels/check.h"
#include "kvstore/block_receiver.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longspan;
  const auto input = std::as_bytes(std::span(data, size));
  const auto header = input.first(std::min(size, kPieceHeaderBytes)), payload = input.subspan(header.size());

  HandoffOptions options;
  options.shape = {
      .block_size = 2, .kv_heads = 2, .head_dim = 2, .groups = {{.layers = 2}, {.layers = 1, .window = 3}}};
  options.tokens = 5;
  const HandoffPlan plan = *HandoffPlan::Create(options);
  int64_t stored = 0;
  BlockReceiverOptions receiver_options;
  receiver_options.block_hashes.resize(static_cast<size_t>(plan.num_blocks()));
  receiver_options.store = [&](const PieceRange& pieces, std::span<const std::byte> bytes) {
    LONGSPAN_CHECK(std::ssize(bytes) == plan.TransferBytes(pieces));
    ++stored;
  };
  BlockReceiver receiver(plan, receiver_options);
  (void)receiver.Accept(header, payload);

  PieceMessage message;
  if (DecodePieceHeader(header, &message).has_value() || message.payload_bytes != payload.size()) return 0;
  // What can be read is written as it was, and a checksum is right for one header and payload alone.
  const PieceHeader again = EncodePieceHeader(message, {&payload, 1});
  LONGSPAN_CHECK(std::equal(header.begin(), header.end() - 16, again.begin()));
  LONGSPAN_CHECK(IsIntact(header, payload) == std::equal(header.begin(), header.end(), again.begin()));
  (void)receiver.Accept(again, payload);
  LONGSPAN_CHECK(stored <= 1 && std::ssize(receiver.Missing()) + stored == std::ssize(plan.Receives(0)));
  return 0;
}
