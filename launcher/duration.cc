#include "launcher/duration.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace longspan {

absl::StatusOr<double> ParseDuration(std::string_view text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}};
  for (const auto& [name, unit_s] : kUnits) {
    if (!text.ends_with(name)) continue;
    const std::string number(text.substr(0, text.size() - name.size()));
    double value = 0;
    const bool plain = number.find_first_not_of("0123456789.") == std::string::npos;
    if (plain && absl::SimpleAtod(number, &value) && std::isfinite(value)) return value * unit_s;
    break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text), "' is not a length of time such as 500ms, 2s or 5m"));
}

}  // namespace longspan
