// Times cases beside the roofs that bound them, round by round, and reports each as a share of its roof.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "bench/roofs.h"

namespace longspan::bench {

// Something to time, and what it takes at least: `bytes` read and `operations` done. The slower of the two is
// its bound.
struct Case {
  std::string name;  // without the number of threads
  int threads = 1;
  std::function<void()> run;
  double bytes = 0;
  size_t footprint_bytes = 0;  // what successive runs read before they come back to the same bytes
  double operations = 0;
  std::vector<Roof> arithmetic;  // the fastest of these does the operations
};

// Medians over rounds.
struct Result {
  std::string name;
  int threads = 1;
  bool is_roof = false;      // a roof itself: its rate alone
  double seconds = 0;        // of one run
  Roof bound = Roof::kRead;  // what binds
  double rate = 0;           // of what binds, a second
  double roof_rate = 0;      // 0: this machine has no roof for the case
  double share = 0;          // of the roof measured in the same round
};

struct MeasurementOptions {
  std::vector<int> thread_counts = {1, 2};
  int rounds = 5;
  std::string filter;            // a regular expression, found anywhere in the name; empty: all
  double sample_seconds = 0.02;  // a sample repeats a run for at least so long
};

// The name of a result: a case's, with the number of threads.
std::string NameWithThreads(const std::string& name, int threads);

class Measurement {
 public:
  // Prints results to stdout as they come. `cpus`: see Roofs. std::regex_error when the filter is none.
  Measurement(const MeasurementOptions& options, std::vector<int> cpus);

  const MeasurementOptions& options() const { return options_; }
  bool Wants(const std::string& name, int threads) const;

  // Measures the roofs alone.
  void RunRoofs();
  // Times the cases in turn, in every round, the roofs of each number of threads before them.
  void Run(const std::vector<Case>& cases);

  const std::vector<Result>& results() const { return results_; }

 private:
  // Roofs measured in one round, with the number of threads.
  using RoundRoofs = std::map<std::pair<Roof, int>, double>;

  void MeasureRoofs(const Case& timed, RoundRoofs& roofs);
  double TimeRun(const Case& timed) const;
  Result Summarize(const Case& timed, const std::vector<double>& seconds,
                   const std::vector<RoundRoofs>& rounds) const;
  void Report(const Result& result);

  const MeasurementOptions options_;
  const std::regex filter_;
  Roofs roofs_;
  std::vector<Result> results_;
};

}  // namespace longspan::bench
