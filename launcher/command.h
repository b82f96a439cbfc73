// A subcommand of `longspan`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/cli_fwd.h"
#include "launcher/rank_env.h"

namespace longspan {

// Made for one run: AddOptions, then parsing fills it, then Check, then Run.
class Command {
 public:
  virtual ~Command() = default;

  // The options write into this object.
  virtual void AddOptions(CLI::App& app) = 0;
  // UsageError when options are missing or do not go together.
  virtual absl::Status Check() = 0;
  // The exit code. An error is for the caller to report.
  virtual absl::StatusOr<int> Run(const RankEnv& env) = 0;
};

struct CommandEntry {
  std::string name;
  std::string summary;                               // one line of the list of commands
  std::function<std::unique_ptr<Command>()> create;  // null when there are subcommands
  std::vector<CommandEntry> subcommands = {};
};

}  // namespace longspan
