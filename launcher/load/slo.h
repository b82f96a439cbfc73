// A service-level objective, and which requests meet it.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "launcher/load/request_record.h"

namespace longspan::load {

// Limits of a request, each perhaps none.
struct Slo {
  std::optional<double> ttft_s, tpot_s, e2e_s;
};

// "ttft=500ms,tpot=50ms,e2e=10s", any of them, each once.
absl::StatusOr<Slo> ParseSlo(std::string_view text);

// Whether a request was completed and within the limit. One without a second token has no TPOT that could be
// too long.
bool MeetsTtft(const Slo& slo, const RequestRecord& record);
bool MeetsTpot(const Slo& slo, const RequestRecord& record);
bool MeetsE2e(const Slo& slo, const RequestRecord& record);
// All of them.
bool Meets(const Slo& slo, const RequestRecord& record);

}  // namespace longspan::load
