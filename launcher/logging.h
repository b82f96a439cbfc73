// The log: lines on standard error.
#pragma once

#include "launcher/model_options.h"
#include "launcher/rank_env.h"

namespace longspan {

// For spdlog's default logger. Lines of ranks other than 0 begin with rank and host.
void SetUpLogging(LogLevel level, const RankEnv& env);

}  // namespace longspan
