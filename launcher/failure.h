// How a failing rank says so.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "comm/bootstrap.h"
#include "launcher/rank_env.h"

namespace longspan {

// Writes "longspan: MESSAGE" to standard error, from ranks other than 0 with rank and host before the
// message, and returns the exit code. Those ranks wait a moment first: a failure usually meets all ranks
// alike, and when rank 0 says it and ends, the process manager ends them before they repeat it.
int ReportFailure(const RankEnv& env, const absl::Status& status);

// Collective: what this rank has to say, and whether any rank has failed. Returns OK when all are OK, else
// the first rank's error on every rank, with that rank and its host unless it is rank 0's own.
absl::Status AgreeOn(Bootstrap& bootstrap, const absl::Status& mine);

}  // namespace longspan
