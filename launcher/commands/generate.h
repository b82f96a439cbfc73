// `longspan generate`: continues a prompt, or a file of prompts as one continuous batch.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace longspan {

std::unique_ptr<Command> NewGenerateCommand();

}  // namespace longspan
