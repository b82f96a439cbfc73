// What `longspan serve` does on rank 0 of its group.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launcher/group_run.h"
#include "launcher/model_options.h"
#include "launcher/rank_env.h"

namespace longspan {

struct ServeOptions {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int64_t port = 8000;
  std::string api_key_file, tls_cert, tls_key;  // empty: none
  std::string served_model_name;                // empty: the file's
  int64_t max_sequences = 64;
  int64_t max_queue = 256;
  std::optional<double> itl_target_s;  // absent: from what a step costs
  double drain_timeout_s = 30;
};

// Listens from its preparation on, and serves until a signal ends it: SIGTERM, SIGINT and SIGUSR1 let open
// requests end. The process manager of several ranks kills them soon after SIGTERM, so that there only
// SIGUSR1 waits for them, and SIGTERM answers them with an error.
std::unique_ptr<GroupProgram> NewServeProgram(ServeOptions options, const RankEnv& env);

}  // namespace longspan
