// Ordered messages between a coordinator and the groups that join it: Protobuf (control.proto) over gRPC
// streams, with mutual TLS where certificates are given.
//
// A stream is what one group says until it breaks; a group that joins again opens another one. Nothing here
// waits for a peer: messages are queued until they can be sent, and who hears nothing for too long closes.
// Threads: Send and Close from any thread. A handler is called on threads of gRPC, one call at a time, and
// may call Send and Close of its stream; OnClose is the last call. Bytes queued are not bounded here.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/control.pb.h"

namespace longspan {

// Grows when a side that does not know a new field would do something wrong.
inline constexpr int kControlProtocol = 1;

// PEM texts. Empty: no TLS. Each side proves itself with a certificate that `ca` has signed.
struct ControlTls {
  std::string ca, certificate, key;
  bool enabled() const { return !ca.empty(); }
};

// From now on `log` is told what goes wrong below the streams, such as a peer that has not the right
// certificate; before, it goes to stderr. Called on any thread.
void LogControlErrors(std::function<void(const std::string& text)> log);

template <typename Message>
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  virtual void OnMessage(Message message) = 0;
  // `why` is OK when the peer has ended in order.
  virtual void OnClose(const absl::Status& why) = 0;
};

template <typename Message>
class MessageStream {
 public:
  virtual ~MessageStream() = default;
  // Dropped once the stream is closed.
  virtual void Send(Message message) = 0;
  // OK: what is queued is sent first, by a group; by a coordinator, and else, it may be lost. A group hears
  // `why`, or Cancelled where a message was on its way to it; a coordinator hears that it is over.
  virtual void Close(const absl::Status& why) = 0;
  virtual std::string peer() const = 0;  // address, for people
};

using FromGroupHandler = StreamHandler<control::FromGroup>;
using ToGroupHandler = StreamHandler<control::ToGroup>;
using ToGroupStream = MessageStream<control::ToGroup>;
using FromGroupStream = MessageStream<control::FromGroup>;

// The coordinator's side.
class ControlServer {
 public:
  virtual ~ControlServer() = default;  // closes all streams, and waits for their handlers
  virtual int port() const = 0;
};

// Called for each stream that a group opens.
using AcceptStream = std::function<std::shared_ptr<FromGroupHandler>(std::shared_ptr<ToGroupStream> stream)>;

// Listens on HOST:PORT, port 0 for any free one. FailedPrecondition names an address that cannot be had.
absl::StatusOr<std::unique_ptr<ControlServer>> ListenForGroups(const std::string& address,
                                                               const ControlTls& tls, AcceptStream accept);

// A group's side. Returns at once; a coordinator that cannot be reached closes the stream.
std::shared_ptr<FromGroupStream> JoinCoordinator(const std::string& address, const ControlTls& tls,
                                                 std::shared_ptr<ToGroupHandler> handler);

}  // namespace longspan
