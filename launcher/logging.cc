#include "launcher/logging.h"

#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "runtime/api/call_log.h"

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

// A line as a JSON object. What the message holds when it is an object itself stands beside time and level.
class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(nlohmann::ordered_json fields) : fields_(std::move(fields)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const std::string text(message.payload.data(), message.payload.size());
    nlohmann::ordered_json object = {
        {"time", absl::FormatTime(absl::FromChrono(message.time), absl::UTCTimeZone())},
        {"level", std::string(spdlog::level::to_string_view(message.level).data())}};
    object.update(fields_);
    if (std::string_view(message.logger_name.data(), message.logger_name.size()) == kCallLogger) {
      object.update(nlohmann::ordered_json::parse(text));
    } else {
      object["message"] = text;
    }
    const std::string bytes = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    line.append(bytes.data(), bytes.data() + bytes.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>(fields_);
  }

 private:
  const nlohmann::ordered_json fields_;  // of every line
};

}  // namespace

void SetUpLogging(LogLevel level, LogFormat format, const RankEnv& env) {
  std::string prefix;
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
  if (env.rank != 0) {
    char host[256] = {};
    gethostname(host, sizeof host - 1);
    fields = {{"rank", env.rank}, {"host", host}};
    prefix = absl::StrReplaceAll(absl::StrCat("rank ", env.rank, " (", host, "): "), {{"%", "%%"}});
  }
  const auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>("longspan", sink);
  if (format == LogFormat::kJson) {
    spdlog::register_logger(std::make_shared<spdlog::logger>(std::string(kCallLogger), sink));
    sink->set_formatter(std::make_unique<JsonFormatter>(std::move(fields)));
  } else {
    sink->set_pattern(absl::StrCat("longspan: ", prefix, "%l: %v"));
  }
  logger->set_level(ToSpdlog(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace longspan
