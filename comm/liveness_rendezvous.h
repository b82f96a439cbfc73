// How the connections for heartbeats come about: rank 0 listens, the others connect and show its token.
// Included by comm/liveness*.cc and tests only. Threads: one at a time for each object.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "comm/liveness_connection.h"

namespace longspan {

inline constexpr std::string_view kLoopbackHost = "127.0.0.1";

// Where rank 0 listens.
struct LivenessAddress {
  LivenessToken token{};
  uint16_t port = 0;
  std::vector<std::string> hosts;  // IPv4 and IPv6, as numbers

  std::string ToBlob() const;
  static absl::StatusOr<LivenessAddress> FromBlob(std::string_view blob);
};

class LivenessListener {
 public:
  // On a port of the system's choice: on the loopback interface alone, or on all, of which the address then
  // names those that other hosts may reach, too.
  static absl::StatusOr<LivenessListener> Create(bool loopback_only);

  const LivenessAddress& address() const { return address_; }
  // Waits until ranks 1 to ranks - 1 have come with the token; their connections in that order. Whoever else
  // connects is turned away.
  absl::StatusOr<std::vector<LivenessConnection>> Accept(int ranks, Clock::Duration timeout);

 private:
  LivenessListener(FileDescriptor socket, LivenessAddress address)
      : socket_(std::move(socket)), address_(std::move(address)) {}

  FileDescriptor socket_;
  LivenessAddress address_;
};

// Tries all addresses at once and keeps the first at which rank 0 answers.
absl::StatusOr<LivenessConnection> ConnectToRankZero(const LivenessAddress& address, int own_rank,
                                                     Clock::Duration timeout);

// Names the network that this process is in; equal where one loopback interface is shared. Empty where the
// system does not say.
std::string NetworkName();

}  // namespace longspan
