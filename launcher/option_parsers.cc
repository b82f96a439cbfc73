#include "launcher/option_parsers.h"

#include <cmath>
#include <limits>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "launcher/duration.h"
#include "launcher/nearest.h"

namespace longspan {
namespace {

absl::Status Wrong(std::string_view text, const std::string& expected) {
  return absl::InvalidArgumentError(absl::StrCat("'", std::string(text), "' is not ", expected));
}

// CLI11 reports what is wrong with a value by an exception, which it expects from callbacks.
void Apply(const std::string& name, const OptionSetter& set, const std::string& text) {
  if (const absl::Status status = set(text); !status.ok()) {
    throw CLI::ValidationError(name, std::string(status.message()));
  }
}

}  // namespace

ValueParser<int64_t> WholeNumber(int64_t least, int64_t most) {
  return [least, most](std::string_view text) -> absl::StatusOr<int64_t> {
    int64_t value = 0;
    if (!absl::SimpleAtoi(std::string(text), &value) || value < least || value > most) {
      const bool bounded = most < std::numeric_limits<int64_t>::max();
      return Wrong(text, bounded ? absl::StrCat("a whole number from ", least, " to ", most)
                                 : absl::StrCat("a whole number of at least ", least));
    }
    return value;
  };
}

ValueParser<uint64_t> UnsignedNumber() {
  return [](std::string_view text) -> absl::StatusOr<uint64_t> {
    uint64_t value = 0;
    if (!absl::SimpleAtoi(std::string(text), &value)) return Wrong(text, "a whole number from 0 to 2^64 - 1");
    return value;
  };
}

ValueParser<double> RealNumber() {
  return [](std::string_view text) -> absl::StatusOr<double> {
    double value = 0;
    if (!absl::SimpleAtod(std::string(text), &value) || !std::isfinite(value)) {
      return Wrong(text, "a number");
    }
    return value;
  };
}

ValueParser<int64_t> Size() {
  return [](std::string_view text) -> absl::StatusOr<int64_t> {
    constexpr std::string_view kUnits = "KMGT";
    std::string_view number = text;
    double unit = 1;
    if (!text.empty()) {
      const size_t power = kUnits.find(absl::ascii_toupper(static_cast<unsigned char>(text.back())));
      if (power != std::string_view::npos) {
        unit = std::pow(1024.0, static_cast<double>(power + 1));
        number.remove_suffix(1);
      }
    }
    double value = 0;
    const bool plain = number.find_first_not_of("0123456789.") == std::string_view::npos;
    if (!plain || !absl::SimpleAtod(std::string(number), &value) || value * unit < 1 ||
        value * unit >= 0x1p62) {
      return Wrong(text, "a size: a number of bytes, or of K, M, G or T (powers of 1024), as 512M or 1.5G");
    }
    return static_cast<int64_t>(value * unit);
  };
}

ValueParser<double> Duration() {
  return [](std::string_view text) { return ParseDuration(text); };
}

ValueParser<bool> OnOff() {
  return [](std::string_view text) -> absl::StatusOr<bool> {
    const std::string lower = absl::AsciiStrToLower(std::string(text));
    for (const char* word : {"on", "true", "yes", "1"}) {
      if (lower == word) return true;
    }
    for (const char* word : {"off", "false", "no", "0"}) {
      if (lower == word) return false;
    }
    return Wrong(text, "on or off");
  };
}

ValueParser<std::string> AnyText() {
  return [](std::string_view text) -> absl::StatusOr<std::string> { return std::string(text); };
}

ValueParser<std::string> NonEmptyText() {
  return [](std::string_view text) -> absl::StatusOr<std::string> {
    if (text.empty()) return absl::InvalidArgumentError("the value is empty");
    return std::string(text);
  };
}

absl::Status NotOneOf(std::string_view text, const std::vector<std::string>& names) {
  return Wrong(text, absl::StrCat("one of ", absl::StrJoin(names, ", "), "; the nearest is ",
                                  std::string(Nearest(text, names))));
}

CLI::Option* AddOption(CLI::App& app, const std::string& name, const std::string& value_name,
                       const std::string& description, OptionSetter set) {
  CLI::Option* option = app.add_option_function<std::string>(
      name, [name, set = std::move(set)](const std::string& text) { Apply(name, set, text); }, description);
  return option->option_text(value_name)->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

CLI::Option* AddListOption(CLI::App& app, const std::string& name, const std::string& value_name,
                           const std::string& description, OptionSetter add) {
  CLI::Option* option = app.add_option_function<std::vector<std::string>>(
      name,
      [name, add = std::move(add)](const std::vector<std::string>& texts) {
        for (const std::string& text : texts) Apply(name, add, text);
      },
      description);
  return option->option_text(value_name)->allow_extra_args(false);
}

CLI::Option* AddFlag(CLI::App& app, const std::string& name, const std::string& description, bool* target) {
  return app.add_flag_function(
      name, [target](int64_t count) { *target = count > 0; }, description);
}

void SetTitle(const std::vector<CLI::Option*>& options, const std::string& title) {
  for (CLI::Option* option : options) option->group(title);
}

}  // namespace longspan
