// Messages between processes of different groups, or of one: a small header and up to 1 MiB gathered from
// memory of the sender. This is how pieces of KV travel from the ranks that computed them to the ranks that
// go on.
//
// A message arrives whole and as it was sent, once, and after those sent before it on its connection; or it
// does not arrive. Nobody acknowledges: a sender that must know asks the receiver's program to answer. What
// arrives has passed the network's checksum alone, so that a receiver checks what it cannot do without.
//
// Memory of the receiver is never written by the sender: there are no one-sided writes, since no transport
// that is made of software can tell a writer that has been given up from one that has not. Message data lands
// in memory of the transport, and the receiver decides what becomes of it.
//
// Threads: a transport with its connections and messages is used by one thread at a time; `Wake` is for all.
// Callbacks run inside Progress alone, on its thread, and may call anything of the transport but Progress,
// Wait and its destructor.
//
// Implementations: ucx_transport.h between processes, in_process_transport.h for simulations, and
// faulty_transport.h, which wraps one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"

namespace longspan {

inline constexpr size_t kMaxHeaderBytes = size_t{1} << 10;
inline constexpr size_t kMaxPayloadBytes = size_t{1} << 20;

using ByteSpan = std::span<const std::byte>;

// What a message of so many bytes, header and payload, counts while it is pending: with what keeps track of
// it, so that empty messages are bounded too.
constexpr size_t PendingBytes(size_t message_bytes) { return message_bytes + 64; }

struct TransportOptions {
  // On each connection, of messages sent and not done. One message is taken however large it is.
  size_t max_pending_bytes = size_t{8} << 20;
};

// Totals since the transport was made. Bytes are those of payloads.
struct TransportCounters {
  uint64_t sent_messages = 0, sent_bytes = 0;  // done
  uint64_t received_messages = 0, received_bytes = 0;
  uint64_t refused_messages = 0;  // received, and not for this transport or not well-formed
};

// Owns the memory of a payload, whatever that is.
class PayloadMemory {
 public:
  virtual ~PayloadMemory() = default;
};

// Whoever has the message has its memory: a handler moves it away to keep it. It is destroyed before the
// transport that received it.
struct ReceivedMessage {
  uint64_t from = 0;  // Transport::id() of the sender
  std::vector<std::byte> header;
  ByteSpan payload;  // aligned to nothing
  std::unique_ptr<PayloadMemory> memory;
};

// OK: the network has the data, and the payload's memory is the sender's again. It does not mean that anyone
// has received it. An error: the message may have arrived or not, and its memory is the sender's again as
// well.
using SendDone = std::function<void(const absl::Status& status)>;

// One direction, to one peer. Destroying it ends the connection at once: what is pending is done with
// Cancelled, and what the network still has may be lost. It is destroyed before its transport.
class TransportConnection {
 public:
  virtual ~TransportConnection() = default;

  virtual uint64_t peer() const = 0;  // Transport::id() at the other end
  // Not OK once the connection has failed, for good: the peer has ended, or cannot be reached. A peer that is
  // stopped, or behind a cut link, may not show for minutes: deadlines are the caller's.
  virtual absl::Status status() const = 0;

  // Of messages sent and not done, as PendingBytes counts them.
  virtual size_t pending_bytes() const = 0;
  // Whether a message of so many bytes, header and payload, would be taken now. If not, ask again after a
  // `done`.
  virtual bool CanSend(size_t message_bytes) const = 0;
  // Copies the header and the list of parts; the parts themselves stay as they are until `done`, which may be
  // empty. `payload` is the concatenation of the parts; some of them, or all, may be empty.
  // Does not wait, nor call `done`. An error means that the message was not taken and `done` will not be
  // called:
  //   InvalidArgument    header or payload exceed their bounds
  //   ResourceExhausted  !CanSend: too much is pending
  //   else               status(): the connection has failed
  virtual absl::Status Send(ByteSpan header, std::span<const ByteSpan> payload, SendDone done) = 0;
};

class Transport {
 public:
  using Handler = absl::FunctionRef<void(ReceivedMessage message)>;

  // What was received and not yet handled is dropped. No `done` is called.
  virtual ~Transport() = default;

  // A random number, told to nobody but through the address: a message that does not carry the receiver's is
  // refused.
  virtual uint64_t id() const = 0;
  // What a peer needs to Connect: bytes without meaning to others. It lets its holder send to this transport,
  // so it travels over connections that are authenticated.
  virtual const std::string& address() const = 0;

  // Returns at once; a peer that cannot be reached shows in the connection's status, or at once as
  // Unavailable. InvalidArgument: `address` is damaged, or of another kind of transport. AlreadyExists: there
  // is a connection to this peer, which must be destroyed before.
  virtual absl::StatusOr<std::unique_ptr<TransportConnection>> Connect(const std::string& address) = 0;

  // Sends and receives what can be without waiting, and calls `handler` for each message received, and `done`
  // for each send that ended. Returns whether there was anything to do; if so, there may be more.
  virtual bool Progress(Handler handler) = 0;
  // Sleeps until Progress has something to do, or Wake has been called since the last Wait. Returns false
  // when the timeout passed first.
  virtual bool Wait(Clock::Duration timeout) = 0;
  // Ends a Wait, now or the next one. From any thread.
  virtual void Wake() = 0;

  virtual TransportCounters counters() const = 0;
};

// For implementations: what Send refuses, whatever the transport. Returns the payload's bytes.
absl::StatusOr<size_t> CheckMessage(ByteSpan header, std::span<const ByteSpan> payload);
inline bool FitsPending(size_t message_bytes, size_t pending_bytes, size_t max_pending_bytes) {
  return pending_bytes == 0 || PendingBytes(message_bytes) + pending_bytes <= max_pending_bytes;
}
absl::Status PendingFull(size_t message_bytes, size_t pending_bytes, size_t max_pending_bytes);

}  // namespace longspan
