// What `longspan serve` does on rank 0 of its group.
#pragma once

#include <memory>

#include "launcher/group_run.h"
#include "launcher/http_front.h"
#include "launcher/model_options.h"
#include "launcher/rank_env.h"
#include "launcher/serving_group.h"

namespace longspan {

struct ServeOptions {
  ModelOptions model;
  HttpFrontOptions http;
  ServingOptions serving;
};

// Listens from its preparation on, and serves until a signal ends it: SIGTERM, SIGINT and SIGUSR1 let open
// requests end. The process manager of several ranks kills them soon after SIGTERM, so that there only
// SIGUSR1 waits for them, and SIGTERM answers them with an error.
std::unique_ptr<GroupProgram> NewServeProgram(ServeOptions options, const RankEnv& env);

}  // namespace longspan
