// A transport whose messages are damaged, lost, late or doubled on purpose: for tests. It breaks what
// transport.h promises, to show that nobody relies on it for more than speed.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/clock.h"
#include "comm/transport.h"

namespace longspan {

// Each is the probability, of each message sent, that it is
struct FaultyTransportOptions {
  uint64_t seed = 0;
  double fail = 0;       // not sent: `done` gets Unavailable; the connection stays
  double drop = 0;       // not sent, though `done` gets OK
  double duplicate = 0;  // sent twice
  double flip = 0;       // sent with one bit of header or payload inverted
  double truncate = 0;   // sent without the end of its payload, or of its header where it has none
  double delay = 0;      // late, and all that follow it on its connection with it
  double reorder = 0;    // late, and overtaken by what follows it
  // How late, at most: Progress calls of the sender, or with a clock time on it.
  uint64_t max_delay_calls = 16;
  const Clock* clock = nullptr;
  Clock::Duration max_delay{0};
};

// Faults happen to messages that are sent; draws depend on the seed and the message's number among all that
// this transport has sent. A message that is altered or late has been copied, so that its send is done before
// it leaves; it is lost when its connection is closed first. Counters are those of `wrapped`.
std::unique_ptr<Transport> CreateFaultyTransport(std::unique_ptr<Transport> wrapped,
                                                 const FaultyTransportOptions& options);

}  // namespace longspan
