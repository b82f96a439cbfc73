#include "launcher/load/slo.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "launcher/duration.h"

namespace longspan::load {

absl::StatusOr<Slo> ParseSlo(std::string_view text) {
  Slo slo;
  for (const absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    const std::pair<std::string, std::string> entry = absl::StrSplit(part, absl::MaxSplits('=', 1));
    std::optional<double>* const limit = entry.first == "ttft"   ? &slo.ttft_s
                                         : entry.first == "tpot" ? &slo.tpot_s
                                         : entry.first == "e2e"  ? &slo.e2e_s
                                                                 : nullptr;
    const absl::StatusOr<double> value = ParseDuration(entry.second);
    if (limit == nullptr || limit->has_value() || !value.ok() || *value <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", std::string(part),
                       "' is not a limit: give ttft, tpot and e2e, each at most once, as "
                       "ttft=500ms,tpot=50ms"));
    }
    *limit = *value;
  }
  return slo;
}

bool MeetsTtft(const Slo& slo, const RequestRecord& record) {
  return record.completed() && (!slo.ttft_s || record.TtftSeconds() <= *slo.ttft_s);
}

bool MeetsTpot(const Slo& slo, const RequestRecord& record) {
  return record.completed() && (!slo.tpot_s || record.TpotSeconds().value_or(0) <= *slo.tpot_s);
}

bool MeetsE2e(const Slo& slo, const RequestRecord& record) {
  return record.completed() && (!slo.e2e_s || record.E2eSeconds() <= *slo.e2e_s);
}

bool Meets(const Slo& slo, const RequestRecord& record) {
  return MeetsTtft(slo, record) && MeetsTpot(slo, record) && MeetsE2e(slo, record);
}

}  // namespace longspan::load
