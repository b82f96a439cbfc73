// A communicator that adds up the time its operations take, transfer and waiting for peers alike.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace longspan::bench {

// Seconds are added to `*seconds`, which must outlive the communicator and what Split makes of it. Only for
// streams that run work at once, as the CPU's do: elsewhere the time of a call is not that of the operation.
std::unique_ptr<Communicator> CreateTimedCommunicator(std::unique_ptr<Communicator> wrapped, double* seconds);

}  // namespace longspan::bench
