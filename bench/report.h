// What a benchmark ran on, and its results as JSON.
#pragma once

#include <string>
#include <utility>
#include <vector>

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

// What a run was of, beside the machine: names and values for the JSON file.
using RunContext = std::vector<std::pair<std::string, std::string>>;

// Ends a run: says how quiet the machine was (`other_load_cpus`, below 0 where that is not known) and writes
// the file that --json names, if any. Returns the exit code, 2 when the filter matched nothing.
//
// The file holds {the context, "processor", "isa", "rounds", "other_load_cpus", "results": [{"name",
// "threads", "bound", "unit", "rate", and, but for the roofs themselves, "seconds", "roof_rate", "share",
// perhaps "communication"}]}.
int Finish(const std::string& program, const std::string& json_path, const RunContext& context,
           const Measurement& measurement, double other_load_cpus);

}  // namespace longspan::bench
