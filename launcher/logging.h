// The log: lines on standard error.
#pragma once

#include "launcher/model_options.h"
#include "launcher/rank_env.h"

namespace longspan {

// For spdlog's default logger. Lines of ranks other than 0 begin with rank and host.
// kJson: each line is an object with "time", "level", "message", and on ranks other than 0 "rank" and "host".
void SetUpLogging(LogLevel level, LogFormat format, const RankEnv& env);

}  // namespace longspan
