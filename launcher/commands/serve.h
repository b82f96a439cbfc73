// `longspan serve`: an HTTP server in front of one group.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewServeCommand();

}  // namespace longspan
