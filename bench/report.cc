#include "bench/report.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
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

absl::Status WriteJson(const std::string& path, const Measurement& measurement, int cpus,
                       double other_load_cpus) {
  nlohmann::ordered_json json;
  json["processor"] = ProcessorName();
  json["cpus"] = cpus;
  json["isa"] = Name(DetectIsa());
  json["rounds"] = measurement.options().rounds;
  json["other_load_cpus"] = other_load_cpus;
  json["results"] = nlohmann::ordered_json::array();
  for (const Result& result : measurement.results()) {
    const RoofTraits& traits = Traits(result.bound);
    nlohmann::ordered_json entry = {{"name", result.name},
                                    {"threads", result.threads},
                                    {"bound", traits.name},
                                    {"unit", traits.unit},
                                    {"rate", result.rate * 1e-9}};
    if (!result.is_roof) {
      entry["seconds"] = result.seconds;
      entry["roof_rate"] = result.roof_rate * 1e-9;
      entry["share"] = result.share;
    }
    json["results"].push_back(std::move(entry));
  }
  std::ofstream file(path);
  file << json.dump(1) << '\n';
  file.close();
  if (!file)
    return absl::UnavailableError(absl::StrCat(path, ": cannot write; check the folder and the space left"));
  return absl::OkStatus();
}

}  // namespace longspan::bench
