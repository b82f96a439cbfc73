// A transport that sends what is over once more, and pieces of KV that nobody computed: for tests.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/transport.h"

namespace longspan::testing {

// Before a message of each connection, with some probability each: one of the last messages that were sent on
// it, as it was; and, with a checksum that is right, a piece of the handoff that is under way whose KV is
// wrong: of another epoch, of another token, or of other tokens of the prompt.
std::unique_ptr<Transport> CreateStaleTransport(std::unique_ptr<Transport> wrapped, uint64_t seed,
                                                double probability);

}  // namespace longspan::testing
