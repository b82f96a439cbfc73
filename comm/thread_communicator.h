// Ranks as threads of one process: a collective copies straight from the peers' memory.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace longspan {

// The communicators of `count` ranks, by rank. Each is to be used by a thread of its own, for a collective
// waits for all the others. With one rank it is the communicator of a process on its own.
std::vector<std::unique_ptr<Communicator>> CreateThreadCommunicators(int count);

}  // namespace longspan
