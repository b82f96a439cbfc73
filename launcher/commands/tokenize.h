// `longspan tokenize`: texts to token ids, and back. Needs no group.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewTokenizeCommand();

}  // namespace longspan
