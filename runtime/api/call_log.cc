#include "runtime/api/call_log.h"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace longspan {
namespace {

nlohmann::ordered_json Milliseconds(const std::optional<double>& seconds) {
  if (!seconds) return nullptr;
  return static_cast<double>(static_cast<int64_t>(*seconds * 1e4 + 0.5)) / 10;
}

}  // namespace

void LogCall(const CallRecord& record) {
  const nlohmann::ordered_json fields = {{"request", record.id},
                                         {"peer", record.peer},
                                         {"kind", record.chat ? "chat" : "completion"},
                                         {"stream", record.stream},
                                         {"status", record.status},
                                         {"outcome", record.outcome},
                                         {"choices", record.choices},
                                         {"prompt_tokens", record.prompt_tokens},
                                         {"completion_tokens", record.completion_tokens},
                                         {"queue_ms", Milliseconds(record.queue_s)},
                                         {"ttft_ms", Milliseconds(record.ttft_s)},
                                         {"e2e_ms", Milliseconds(record.e2e_s)}};
  if (const auto logger = spdlog::get(std::string(kCallLogger))) {
    logger->info("{}", fields.dump());
    return;
  }
  std::string line;
  for (const auto& [name, value] : fields.items()) {
    absl::StrAppendFormat(&line, "%s%s=%s", line.empty() ? "" : " ", name,
                          value.is_string() ? value.get<std::string>()
                          : value.is_null() ? "-"
                                            : value.dump());
  }
  spdlog::info("{}", line);
}

}  // namespace longspan
