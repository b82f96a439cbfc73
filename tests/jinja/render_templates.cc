// Renders templates for compare_with_jinja2.py: JSON objects {"template", "variables"} in, one a line, and
// objects
// {"text"} or {"error", "code"} out. The clock stands at 2024-03-05 14:07:09.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/jinja/template.h"

namespace {

using nlohmann::ordered_json;

absl::StatusOr<std::string> Render(const ordered_json& job) {
  auto parsed = longspan::jinja::Template::Parse(job.at("template").get<std::string>());
  if (!parsed.ok()) return parsed.status();
  longspan::jinja::RenderOptions options;
  options.now.tm_year = 2024 - 1900;
  options.now.tm_mon = 2;
  options.now.tm_mday = 5;
  options.now.tm_hour = 14;
  options.now.tm_min = 7;
  options.now.tm_sec = 9;
  options.now.tm_wday = 2;
  options.now.tm_yday = 64;
  return parsed->Render(job.at("variables"), options);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = Render(ordered_json::parse(line));
    ordered_json result;
    if (text.ok()) {
      result["text"] = *text;
    } else {
      result["error"] = std::string(text.status().message());
      result["code"] = absl::StatusCodeToString(text.status().code());
    }
    std::cout << result.dump() << '\n';
  }
  return 0;
}
