// `longspan bench serve`: puts load on an OpenAI-compatible server and reports its latencies.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewBenchServeCommand();

}  // namespace longspan
