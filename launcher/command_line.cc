#include "launcher/command_line.h"

#include <algorithm>
#include <optional>

#include <yaml-cpp/yaml.h>
#include <CLI/CLI.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/nearest.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"

namespace longspan {
namespace {

std::string LongName(const CLI::Option& option) {
  return option.get_lnames().empty() ? "" : "--" + option.get_lnames().front();
}

std::string VariableName(const std::string& option) {
  return "LONGSPAN_" + absl::AsciiStrToUpper(absl::StrReplaceAll(option.substr(2), {{"-", "_"}}));
}

absl::Status UnknownOption(const std::string& option, const std::vector<std::string>& names) {
  return UsageError(
      absl::StrCat("unknown option ", option, "; the nearest is ", std::string(Nearest(option, names))));
}

// What stands in for options that nobody gave so far. Options given by the same source do not hide each
// other.
class LowerSource {
 public:
  explicit LowerSource(CLI::App& app) {
    for (CLI::Option* option : app.get_options()) {
      const auto& excludes = option->get_excludes();
      const bool hidden =
          option->count() > 0 || std::any_of(excludes.begin(), excludes.end(),
                                             [](const CLI::Option* other) { return other->count() > 0; });
      const std::string name = LongName(*option);
      if (!hidden && !name.empty() && name != "--help") open_.push_back(option);
    }
  }

  const std::vector<CLI::Option*>& open() const { return open_; }
  CLI::Option* Find(const std::string& name) const {
    const auto it = std::find_if(open_.begin(), open_.end(),
                                 [&](const CLI::Option* option) { return LongName(*option) == name; });
    return it == open_.end() ? nullptr : *it;
  }

 private:
  std::vector<CLI::Option*> open_;
};

// `origin` says where the values are from, in errors.
absl::Status Give(CLI::Option& option, const std::vector<std::string>& values, const std::string& origin) {
  const bool is_flag = option.get_items_expected_max() == 0;
  try {
    for (const std::string& value : values) {
      if (is_flag) {
        const absl::StatusOr<bool> on = OnOff()(value);
        if (!on.ok()) throw CLI::ValidationError(LongName(option), std::string(on.status().message()));
        option.add_result(*on ? "true" : "false");
      } else {
        option.add_result(value);
      }
    }
    option.run_callback();
  } catch (const CLI::Error& error) {
    return UsageError(absl::StrCat(origin, ": ", error.what()));
  }
  return absl::OkStatus();
}

absl::Status ParseArguments(CLI::App& app, const std::vector<std::string>& arguments, bool* help) {
  app.allow_extras();
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    *help = true;
    return absl::OkStatus();
  } catch (const CLI::Error& error) {
    return UsageError(error.what());
  }
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty()) return absl::OkStatus();
  const std::string& first = unknown.front();
  if (first.starts_with("-")) return UnknownOption(first.substr(0, first.find('=')), OptionNames(app));
  return UsageError(absl::StrCat("unexpected argument '", first, "'; see ", app.get_name(), " --help"));
}

absl::Status ReadVariables(CLI::App& app, const EnvironmentReader& environment) {
  const LowerSource source(app);
  for (CLI::Option* option : source.open()) {
    const std::string variable = VariableName(LongName(*option));
    const std::optional<std::string> value = environment(variable);
    if (value && !value->empty()) LONGSPAN_RETURN_IF_ERROR(Give(*option, {*value}, variable));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FileValues(const YAML::Node& node, const std::string& origin) {
  if (node.IsScalar()) return std::vector<std::string>{node.Scalar()};
  std::vector<std::string> values;
  if (node.IsSequence()) {
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return UsageError(absl::StrCat(origin, ": a list may hold plain values only"));
      values.push_back(item.Scalar());
    }
  }
  if (values.empty()) return UsageError(absl::StrCat(origin, ": needs a value"));
  return values;
}

absl::Status ReadEntries(const YAML::Node& root, CLI::App& app, const std::string& path,
                         const std::vector<std::string>& file_options) {
  if (root.IsNull()) return absl::OkStatus();
  if (!root.IsMap()) return UsageError(absl::StrCat(path, ": must hold lines of the form 'option: value'"));
  const LowerSource source(app);
  absl::flat_hash_set<std::string> seen;
  for (const auto& entry : root) {
    if (!entry.first.IsScalar()) return UsageError(absl::StrCat(path, ": an option's name is no plain text"));
    const std::string name = "--" + entry.first.Scalar();
    const std::string origin =
        absl::StrCat(path, ":", entry.first.Mark().line + 1, ": ", entry.first.Scalar());
    if (std::find(file_options.begin(), file_options.end(), name) == file_options.end()) {
      return UsageError(absl::StrCat(path, ":", entry.first.Mark().line + 1, ": ",
                                     std::string(UnknownOption(name, file_options).message())));
    }
    if (!seen.insert(name).second) return UsageError(absl::StrCat(origin, ": is given twice"));
    LONGSPAN_ASSIGN_OR_RETURN(const std::vector<std::string> values, FileValues(entry.second, origin));
    if (CLI::Option* option = source.Find(name); option != nullptr) {
      LONGSPAN_RETURN_IF_ERROR(Give(*option, values, origin));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadFile(CLI::App& app, const std::string& path, const std::vector<std::string>& file_options) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  try {
    return ReadEntries(YAML::Load(text), app, path, file_options);
  } catch (const YAML::Exception& error) {
    return UsageError(absl::StrCat(path, ": is not valid YAML: ", error.what()));
  }
}

absl::Status CheckExclusions(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() == 0) continue;
    for (const CLI::Option* other : option->get_excludes()) {
      if (other->count() > 0) {
        return UsageError(
            absl::StrCat(LongName(*option), " and ", LongName(*other), " exclude each other: give one"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (const std::string name = LongName(*option); !name.empty()) names.push_back(name);
  }
  return names;
}

absl::StatusOr<ParseOutcome> ParseCommandLine(CLI::App& app, const std::vector<std::string>& arguments,
                                              const std::vector<std::string>& file_options,
                                              const EnvironmentReader& environment) {
  std::optional<std::string> config;
  AddOption(app, "--config", "FILE",
            "YAML file of options, 'name: value' a line; the command line and LONGSPAN_... variables win",
            Into(&config, NonEmptyText()));
  bool help = false;
  LONGSPAN_RETURN_IF_ERROR(ParseArguments(app, arguments, &help));
  if (help) return ParseOutcome::kHelp;
  LONGSPAN_RETURN_IF_ERROR(ReadVariables(app, environment));
  if (config) LONGSPAN_RETURN_IF_ERROR(ReadFile(app, *config, file_options));
  LONGSPAN_RETURN_IF_ERROR(CheckExclusions(app));
  return ParseOutcome::kRun;
}

}  // namespace longspan
