// What the suite of transports runs on, and how it drives them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "comm/transport.h"

namespace longspan {

// Makes transports that can connect to each other.
using MakeTransport = std::function<std::unique_ptr<Transport>(const TransportOptions& options)>;

struct TransportWorld {
  std::string name;
  std::function<MakeTransport()> create;
};

inline std::ostream& operator<<(std::ostream& out, const TransportWorld& world) { return out << world.name; }

using Bytes = std::vector<std::byte>;

// Not the same for any two seeds below 251.
inline Bytes Pattern(size_t seed, size_t bytes) {
  Bytes pattern(bytes);
  for (size_t i = 0; i < bytes; ++i)
    pattern[i] = std::byte(static_cast<uint8_t>((seed + i * 7 + i / 251) % 251));
  return pattern;
}

inline Bytes ToBytes(ByteSpan span) { return Bytes(span.begin(), span.end()); }

// Sends contiguous memory, which `bytes` keeps until it is done.
inline absl::Status SendBytes(TransportConnection& connection, ByteSpan header, Bytes bytes,
                              SendDone done = {}) {
  const auto kept = std::make_shared<Bytes>(std::move(bytes));
  const std::vector<ByteSpan> parts = {*kept};
  return connection.Send(header, parts, [kept, done = std::move(done)](const absl::Status& status) {
    if (done) done(status);
  });
}

// Nothing here takes so long; a test that waits in vain ends.
inline constexpr std::chrono::seconds kPatience{60};

// Steps all transports, in turn, until `finished`. Returns whether that came about.
inline bool StepUntil(const std::vector<Transport*>& transports, Transport::Handler handler,
                      const std::function<bool()>& finished) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!finished()) {
    bool progressed = false;
    for (Transport* transport : transports) progressed |= transport->Progress(handler);
    if (std::chrono::steady_clock::now() > deadline) return false;
    if (!progressed) transports.front()->Wait(std::chrono::milliseconds(1));
  }
  return true;
}

inline void Ignore(ReceivedMessage) {}

}  // namespace longspan
