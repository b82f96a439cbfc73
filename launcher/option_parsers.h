// Options of a command and the values they take.
//
// A parser turns an option's text into a value; its error says what is wrong with the text and what would be
// right, and AddOption puts the option's name before it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/cli_fwd.h"

namespace longspan {

template <typename T>
using ValueParser = std::function<absl::StatusOr<T>(std::string_view text)>;

// A whole number from `least` to `most`.
ValueParser<int64_t> WholeNumber(int64_t least, int64_t most);
// Any seed.
ValueParser<uint64_t> UnsignedNumber();
// A finite number.
ValueParser<double> RealNumber();
// Bytes: a number, perhaps with a fraction, then nothing or K, M, G, T for powers of 1024 ("1.5G").
ValueParser<int64_t> Size();
// Seconds, as ParseDuration reads them.
ValueParser<double> Duration();
// on, true, yes, 1 and off, false, no, 0.
ValueParser<bool> OnOff();
ValueParser<std::string> AnyText();
// Any text but the empty one.
ValueParser<std::string> NonEmptyText();

// InvalidArgument that lists the names and the one nearest to `text`.
absl::Status NotOneOf(std::string_view text, const std::vector<std::string>& names);

template <typename T>
ValueParser<T> OneOf(std::vector<std::pair<std::string, T>> choices) {
  return [choices = std::move(choices)](std::string_view text) -> absl::StatusOr<T> {
    std::vector<std::string> names;
    for (const auto& [name, value] : choices) {
      if (name == text) return value;
      names.push_back(name);
    }
    return NotOneOf(text, names);
  };
}

using OptionSetter = std::function<absl::Status(std::string_view text)>;

// Stores what the parser makes of the text. `target`, a T or a std::optional of one, must outlive the
// parsing.
template <typename Target, typename T>
OptionSetter Into(Target* target, ValueParser<T> parser) {
  return [target, parser = std::move(parser)](std::string_view text) {
    absl::StatusOr<T> value = parser(text);
    if (value.ok()) *target = *std::move(value);
    return value.status();
  };
}

// Adds an option that takes one value and may be given once; `value_name` stands for the value in the help.
CLI::Option* AddOption(CLI::App& app, const std::string& name, const std::string& value_name,
                       const std::string& description, OptionSetter set);
// The same for an option that may be given several times; `add` is called for each, in order.
CLI::Option* AddListOption(CLI::App& app, const std::string& name, const std::string& value_name,
                           const std::string& description, OptionSetter add);
// An option that is on when named; it also takes a value as OnOff does, with =.
CLI::Option* AddFlag(CLI::App& app, const std::string& name, const std::string& description, bool* target);

// Under which title the help shows these.
void SetTitle(const std::vector<CLI::Option*>& options, const std::string& title);

}  // namespace longspan
