// `longspan worker`: a group that joins a coordinator.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewWorkerCommand();

}  // namespace longspan
