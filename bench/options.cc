#include "bench/options.h"

#include <regex>

namespace longspan::bench {
namespace {

std::string RegexError(const std::string& text) {
  try {
    std::regex pattern(text);
    return "";
  } catch (const std::regex_error& error) {
    return "'" + text + "' is no regular expression: " + error.what();
  }
}

}  // namespace

void AddCommonOptions(CLI::App& app, const std::string& filter_example, MeasurementOptions* measurement,
                      OutputOptions* output) {
  constexpr int kMaxRounds = 1000;
  app.add_option("--filter", measurement->filter,
                 "regular expression, found anywhere in a name, such as '" + filter_example + "'")
      ->check(CLI::Validator(RegexError, ""));
  app.add_option("--rounds", measurement->rounds, "rounds; figures are medians over them")
      ->check(CLI::Range(1, kMaxRounds));
  app.add_option("--json", output->json_path, "file for the results");
}

std::optional<int> ParseOptions(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

}  // namespace longspan::bench
