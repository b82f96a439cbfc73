// What a benchmark ran on, and its results as JSON.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/measurement.h"

namespace longspan::bench {

// CPU time of this machine that other programs take, from construction on.
class OtherLoad {
 public:
  OtherLoad();
  // The average number of CPUs that they kept busy; 0 where the system does not tell.
  double Cpus() const;

 private:
  double others_seconds_ = 0, wall_seconds_ = 0;
};

// The processor's name, as the system has it.
std::string ProcessorName();

// {"processor", "cpus", "isa", "rounds", "other_load_cpus", "results": [{"name", "threads", "bound", "unit",
// "rate", and, but for the roofs themselves, "seconds", "roof_rate", "share"}]}.
absl::Status WriteJson(const std::string& path, const Measurement& measurement, int cpus,
                       double other_load_cpus);

}  // namespace longspan::bench
