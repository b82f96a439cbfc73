// `longspan inspect`: what a model is and what it costs in memory. Needs no group.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewInspectCommand();

}  // namespace longspan
