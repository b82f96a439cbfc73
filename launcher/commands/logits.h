// `longspan logits`: the logits of every position of given tokens, into a file.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewLogitsCommand();

}  // namespace longspan
