// What `longspan worker` does on rank 0 of its group.
#pragma once

#include <memory>
#include <string>

#include "comm/ucx_transport.h"
#include "launcher/control_options.h"
#include "launcher/group_run.h"
#include "launcher/model_options.h"
#include "launcher/rank_env.h"
#include "launcher/serving_group.h"

namespace longspan {

struct WorkerOptions {
  ModelOptions model;
  ServingOptions serving;
  std::string coordinator;  // HOST:PORT
  ControlFiles control_files;
  bool insecure = false;
  UcxTransportOptions transport;
  double drain_timeout_s = 30;
};

// Serves a coordinator until a signal ends it, joining it again whenever it was lost. SIGTERM, SIGINT and
// SIGUSR1 tell the coordinator to send no more, and let what runs end. The process manager of several ranks
// kills them soon after SIGTERM, so that there only SIGUSR1 waits; what runs then goes on in other groups.
std::unique_ptr<GroupProgram> NewWorkerProgram(WorkerOptions options, const RankEnv& env);

}  // namespace longspan
