#include "launcher/failure.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"

namespace longspan {
namespace {

// mpirun gives the other ranks SIGTERM a second after the first has failed.
constexpr std::chrono::seconds kRankZeroSpeaksFirst{3};

std::string RankPrefix(int rank, const std::string& host) {
  return rank == 0 ? "" : absl::StrCat("rank ", rank, " (", host, "): ");
}

}  // namespace

int ReportFailure(const RankEnv& env, const absl::Status& status) {
  char host[256] = {};
  if (env.rank != 0) {
    std::this_thread::sleep_for(kRankZeroSpeaksFirst);
    gethostname(host, sizeof host - 1);
  }
  std::fprintf(stderr, "longspan: %s%s\n", RankPrefix(env.rank, host).c_str(),
               OneLineMessage(status).c_str());
  return ExitCode(status);
}

absl::Status AgreeOn(Bootstrap& bootstrap, const absl::Status& mine) {
  absl::Status said = mine;
  if (!mine.ok() && bootstrap.rank() != 0) {
    const std::string message =
        absl::StrCat(RankPrefix(bootstrap.rank(), bootstrap.host()), std::string(mine.message()));
    said = IsUsageError(mine) ? UsageError(message) : absl::UnknownError(message);
  }
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<std::string> all, bootstrap.AllGather(SerializeStatus(said)));
  for (const std::string& blob : all) LONGSPAN_RETURN_IF_ERROR(ParseStatus(blob));
  return absl::OkStatus();
}

}  // namespace longspan
