#include "launcher/rank_env.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "launcher/rank_threads.h"

namespace longspan {
namespace {

EnvironmentReader Fixed(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    return it == variables.end() ? std::nullopt : std::optional(it->second);
  };
}

TEST(RankEnvTest, AloneWithoutVariables) {
  const RankEnv env = DetectRankEnv(Fixed({})).value();
  EXPECT_FALSE(env.mpi);
  EXPECT_EQ(env.rank, 0);
  EXPECT_EQ(env.size, 1);
}

TEST(RankEnvTest, ReadsMpirun) {
  const RankEnv env =
      DetectRankEnv(Fixed({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "1"}}))
          .value();
  EXPECT_TRUE(env.mpi);
  EXPECT_EQ(env.rank, 3);
  EXPECT_EQ(env.size, 4);
}

TEST(RankEnvTest, ReadsSrunWithPmix) {
  RankEnv env = DetectRankEnv(Fixed({{"PMIX_RANK", "1"}, {"SLURM_NTASKS", "2"}})).value();
  EXPECT_TRUE(env.mpi);
  EXPECT_EQ(env.rank, 1);
  EXPECT_EQ(env.size, 2);
  // A step may be smaller than its job.
  env = DetectRankEnv(Fixed({{"PMIX_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "3"}, {"SLURM_NTASKS", "8"}}))
            .value();
  EXPECT_EQ(env.size, 3);
}

TEST(RankEnvTest, ASlurmScriptRunsAlone) {
  EXPECT_FALSE(DetectRankEnv(Fixed({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}})).value().mpi);
}

TEST(RankEnvTest, TasksThatDoNotKnowOfEachOtherAreRefused) {
  const absl::Status status = DetectRankEnv(Fixed({{"SLURM_STEP_NUM_TASKS", "4"}})).status();
  EXPECT_NE(status.message().find("srun --mpi=pmix"), absl::string_view::npos) << status;
}

TEST(RankEnvTest, NamesTheVariableThatMakesNoSense) {
  for (const auto& [variables, named] :
       std::vector<std::pair<std::map<std::string, std::string>, std::string>>{
           {{{"OMPI_COMM_WORLD_RANK", "1"}}, "OMPI_COMM_WORLD_SIZE is not set"},
           {{{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "2"}}, "OMPI_COMM_WORLD_RANK is 'x'"},
           {{{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "2"}}, "OMPI_COMM_WORLD_SIZE is 2"},
           {{{"PMIX_RANK", "0"}}, "SLURM_NTASKS is not set"},
           {{{"PMIX_RANK", "-1"}, {"SLURM_NTASKS", "2"}}, "PMIX_RANK is '-1'"}}) {
    const absl::StatusOr<RankEnv> env = DetectRankEnv(Fixed(variables));
    ASSERT_FALSE(env.ok()) << named;
    EXPECT_NE(env.status().message().find(named), absl::string_view::npos) << env.status();
  }
}

TEST(RankThreadsTest, RanksAtOnePlaceShareItsCores) {
  const std::vector<std::string> places = {"a 01", "a 01", "a 10", "b 01", "b 01", "b 01"};
  EXPECT_EQ(ThreadsOfRank(places, 0, 8), 4);
  EXPECT_EQ(ThreadsOfRank(places, 2, 8), 8);
  EXPECT_EQ(ThreadsOfRank(places, 4, 8), 2);
  EXPECT_EQ(ThreadsOfRank(places, 4, 2), 1);  // more ranks than cores
}

TEST(RankThreadsTest, ThisProcessMayRunSomewhere) { EXPECT_GE(AvailableCores().count, 1); }

}  // namespace
}  // namespace longspan
