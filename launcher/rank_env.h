// Which rank of how many this process is, from what the process manager put into the environment.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace longspan {

// The value of an environment variable, if it is set.
using EnvironmentReader = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> ReadEnvironment(const std::string& name);

struct RankEnv {
  bool mpi = false;  // started by mpirun or srun: other ranks are reached through MPI
  int rank = 0;
  int size = 1;
};

// Open MPI's mpirun tells the rank in OMPI_COMM_WORLD_RANK and _SIZE; `srun --mpi=pmix` in PMIX_RANK, with
// the number of tasks in SLURM_STEP_NUM_TASKS or SLURM_NTASKS. Without them the process is on its own. An
// error names the variable that makes no sense, or says that Slurm started several tasks which do not know of
// each other.
absl::StatusOr<RankEnv> DetectRankEnv(const EnvironmentReader& environment);

}  // namespace longspan
