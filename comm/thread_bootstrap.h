// The control plane of ranks that are threads of one process.
#pragma once

#include <memory>
#include <vector>

#include "comm/bootstrap.h"

namespace longspan {

// The bootstraps of `count` ranks, by rank. Each is to be used by a thread of its own, for a call waits for
// all the others. With one rank it is the bootstrap of a process on its own.
std::vector<std::unique_ptr<Bootstrap>> CreateThreadBootstraps(int count);

}  // namespace longspan
