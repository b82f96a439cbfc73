#include "launcher/rank_env.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

absl::StatusOr<int> Number(const EnvironmentReader& environment, const std::string& name, int least) {
  const std::optional<std::string> text = environment(name);
  int value = 0;
  if (!text || !absl::SimpleAtoi(*text, &value) || value < least) {
    return absl::FailedPreconditionError(
        absl::StrCat("the environment variable ", name, " is ", text ? "'" + *text + "'" : "not set",
                     "; mpirun and srun set it to a number of at least ", least,
                     ": start all ranks through one of them, or unset it to run alone"));
  }
  return value;
}

absl::StatusOr<RankEnv> FromVariables(const EnvironmentReader& environment, const std::string& rank_name,
                                      const std::string& size_name) {
  RankEnv env{.mpi = true};
  LONGSPAN_ASSIGN_OR_RETURN(env.rank, Number(environment, rank_name, 0));
  LONGSPAN_ASSIGN_OR_RETURN(env.size, Number(environment, size_name, 1));
  if (env.rank >= env.size) {
    return absl::FailedPreconditionError(absl::StrCat(rank_name, " is ", env.rank, " but ", size_name, " is ",
                                                      env.size,
                                                      "; start all ranks through one mpirun or srun"));
  }
  return env;
}

}  // namespace

std::optional<std::string> ReadEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

absl::StatusOr<RankEnv> DetectRankEnv(const EnvironmentReader& environment) {
  if (environment("OMPI_COMM_WORLD_RANK") || environment("OMPI_COMM_WORLD_SIZE")) {
    return FromVariables(environment, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  }
  const char* tasks = environment("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  if (environment("PMIX_RANK")) return FromVariables(environment, "PMIX_RANK", tasks);
  // A script under sbatch is not a step, and runs alone whatever the job's number of tasks.
  if (environment("SLURM_STEP_NUM_TASKS")) {
    LONGSPAN_ASSIGN_OR_RETURN(const int count, Number(environment, "SLURM_STEP_NUM_TASKS", 1));
    if (count > 1) {
      return absl::FailedPreconditionError(absl::StrCat(
          "Slurm started ", count, " tasks that do not know of each other; use srun --mpi=pmix"));
    }
  }
  return RankEnv{};
}

}  // namespace longspan
