// Options from the command line, LONGSPAN_... environment variables and a YAML file, in this order of
// precedence.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/cli_fwd.h"
#include "launcher/rank_env.h"

namespace longspan {

enum class ParseOutcome { kRun, kHelp };

// Parses the arguments after the command's name into what the app's options write to, then fills options that
// were not given from variables (--kv-bytes: LONGSPAN_KV_BYTES) and from the file that --config names. A
// lower source is ignored for an option that a higher one gave, and for options that this one excludes.
// kHelp: --help was asked for.
//
// `file_options` are the option names (--kv-bytes) that a file may hold, those of other commands too, so that
// one file serves all commands. UsageErrors name the option and the nearest valid one; a file that cannot be
// read is another error.
absl::StatusOr<ParseOutcome> ParseCommandLine(CLI::App& app, const std::vector<std::string>& arguments,
                                              const std::vector<std::string>& file_options,
                                              const EnvironmentReader& environment);

// The long names of the app's options, with the dashes.
std::vector<std::string> OptionNames(const CLI::App& app);

}  // namespace longspan
