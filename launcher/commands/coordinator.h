// `longspan coordinator`: an HTTP server in front of groups that join it.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewCoordinatorCommand();

}  // namespace longspan
