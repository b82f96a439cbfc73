// Transports of one process that send to each other: for simulations and tests.
#pragma once

#include <memory>

#include "comm/transport.h"

namespace longspan {

// Thread-safe; its transports keep it alive. Who steps them from one thread gets the same order of everything
// each time: messages arrive in the order of their Send. A send is done once the receiver's Progress has
// taken it, so that a receiver that makes none lets its senders feel it. Ids count from 1.
class InProcessNetwork {
 public:
  virtual ~InProcessNetwork() = default;
  // Destroying it is what the death of a process is to others: their connections to it fail.
  virtual std::unique_ptr<Transport> CreateTransport(const TransportOptions& options) = 0;
};

std::shared_ptr<InProcessNetwork> CreateInProcessNetwork();

}  // namespace longspan
