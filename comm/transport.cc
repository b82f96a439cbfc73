#include "comm/transport.h"

#include "absl/strings/str_cat.h"

namespace longspan {

absl::StatusOr<size_t> CheckMessage(ByteSpan header, std::span<const ByteSpan> payload) {
  if (header.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a header of ", header.size(), " bytes exceeds the ",
                                                   kMaxHeaderBytes,
                                                   " of a message: move some to the payload"));
  }
  size_t bytes = 0;
  for (const ByteSpan part : payload) bytes += part.size();
  if (bytes > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a payload of ", bytes, " bytes exceeds the ",
                                                   kMaxPayloadBytes, " of a message: send it in pieces"));
  }
  return bytes;
}

absl::Status PendingFull(size_t message_bytes, size_t pending_bytes, size_t max_pending_bytes) {
  return absl::ResourceExhaustedError(absl::StrCat(pending_bytes, " bytes are pending to the peer, and ",
                                                   message_bytes, " more exceed the ", max_pending_bytes,
                                                   " that may be: send again when some are done"));
}

}  // namespace longspan
