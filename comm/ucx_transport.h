// Transports between processes, over UCX (https://openucx.readthedocs.io, `ucp.h`): its active messages, in
// their eager protocol alone.
//
// The rendezvous protocol of UCX has the data written to the receiver's address, or read from the sender's,
// by packets that its software transports carry out unchecked; a process that was stopped, given up, and
// continued would write into memory that has found another use. Eager data is put together in memory
// of UCX, which the receiver is then given; that is why payloads are bounded. Over TCP it is copied once at
// each end.
//
// A message that was put together by something else than a peer is refused by the ids it carries, but UCX
// itself trusts whoever reaches its ports: the network between hosts must be the operator's own.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/transport.h"

namespace longspan {

struct UcxTransportOptions : TransportOptions {
  // UCX_TLS: "tcp", or those of the network's hardware, as "rc,tcp". They must be able to tell that a peer
  // has ended, which those in shared memory cannot: a connection over these fails at once.
  std::string transports = "tcp";
  // UCX_NET_DEVICES, as "eth0" or "mlx5_0:1": which interfaces to use. Empty: what the environment says, or
  // all.
  std::string devices;
};

// Other settings of UCX are taken from the environment. InvalidArgument names an option that UCX does not
// take; Unavailable: none of the transports is to be had on the devices.
absl::StatusOr<std::unique_ptr<Transport>> CreateUcxTransport(const UcxTransportOptions& options);

}  // namespace longspan
