// One line of the log for each call that generates text. Texts are never logged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longspan {

// Where there is a spdlog logger of this name it gets JSON objects; otherwise the default one gets
// key=value pairs.
inline constexpr std::string_view kCallLogger = "longspan-calls";

struct CallRecord {
  std::string id, peer;
  bool chat = false, stream = false;
  int status = 200;     // HTTP
  std::string outcome;  // as in Metrics::CountRequest
  int64_t choices = 0, prompt_tokens = 0, completion_tokens = 0;
  std::optional<double> queue_s = {}, ttft_s = {};  // from arrival
  double e2e_s = 0;
};

void LogCall(const CallRecord& record);

}  // namespace longspan
