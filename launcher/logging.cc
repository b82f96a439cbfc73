#include "launcher/logging.h"

#include <unistd.h>

#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace longspan {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void SetUpLogging(LogLevel level, const RankEnv& env) {
  std::string prefix;
  if (env.rank != 0) {
    char host[256] = {};
    gethostname(host, sizeof host - 1);
    prefix = absl::StrReplaceAll(absl::StrCat("rank ", env.rank, " (", host, "): "), {{"%", "%%"}});
  }
  auto logger =
      std::make_shared<spdlog::logger>("longspan", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(absl::StrCat("longspan: ", prefix, "%l: %v"));
  logger->set_level(ToSpdlog(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace longspan
