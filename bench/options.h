// The options that every benchmark has.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "bench/measurement.h"

namespace longspan::bench {

struct OutputOptions {
  std::string json_path;  // empty: none
};

// Adds --filter, --rounds and --json.
void AddCommonOptions(CLI::App& app, const std::string& filter_example, MeasurementOptions* measurement,
                      OutputOptions* output);

// Nothing when the program shall run; else the exit code: 0 after --help, 2 for wrong options.
std::optional<int> ParseOptions(CLI::App& app, int argc, char** argv);

}  // namespace longspan::bench
