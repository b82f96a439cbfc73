#include "bench/report.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_backend.h"

namespace longspan::bench {
namespace {

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// CPU time of all programs (proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq) but this
// one.
double OthersSeconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  double busy = 0, value = 0;
  file >> word;
  for (int field = 0; field < 7 && file >> value; ++field) {
    if (field != 3 && field != 4) busy += value;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return busy / static_cast<double>(sysconf(_SC_CLK_TCK)) - seconds(usage.ru_utime) - seconds(usage.ru_stime);
}

nlohmann::ordered_json ToJson(const RunContext& context, const Measurement& measurement,
                              double other_load_cpus) {
  nlohmann::ordered_json json;
  for (const auto& [name, value] : context) json[name] = value;
  json["processor"] = ProcessorName();
  json["isa"] = Name(DetectIsa());
  json["rounds"] = measurement.options().rounds;
  if (other_load_cpus >= 0) json["other_load_cpus"] = other_load_cpus;
  json["results"] = nlohmann::ordered_json::array();
  for (const Result& result : measurement.results()) {
    nlohmann::ordered_json entry = {{"name", result.name},
                                    {"threads", result.threads},
                                    {"bound", result.bound},
                                    {"unit", result.unit},
                                    {"rate", result.rate}};
    if (!result.is_roof) {
      entry["seconds"] = result.seconds;
      entry["roof_rate"] = result.roof_rate;
      entry["share"] = result.share;
      if (result.communication) entry["communication"] = *result.communication;
    }
    json["results"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

OtherLoad::OtherLoad() : others_seconds_(OthersSeconds()), wall_seconds_(WallSeconds()) {}

double OtherLoad::Cpus() const {
  return std::max(0.0, (OthersSeconds() - others_seconds_) / (WallSeconds() - wall_seconds_));
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

int Finish(const std::string& program, const std::string& json_path, const RunContext& context,
           const Measurement& measurement, double other_load_cpus) {
  constexpr double kQuietCpus = 0.1;
  if (measurement.results().empty()) {
    std::fprintf(stderr, "%s: --filter '%s' matches no name\n", program.c_str(),
                 measurement.options().filter.c_str());
    return 2;
  }
  if (other_load_cpus >= 0) {
    std::printf("other programs kept %.2f CPUs busy meanwhile%s\n", other_load_cpus,
                other_load_cpus > kQuietCpus ? ": rerun on a quiet machine for figures to keep" : "");
  }
  if (json_path.empty()) return 0;
  std::ofstream file(json_path);
  file << ToJson(context, measurement, other_load_cpus).dump(1) << '\n';
  file.close();
  if (file) return 0;
  std::fprintf(stderr, "%s: --json %s: cannot write; check the folder and the space left\n", program.c_str(),
               json_path.c_str());
  return 1;
}

}  // namespace longspan::bench
