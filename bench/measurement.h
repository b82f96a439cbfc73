// Times cases beside the roofs that bound them, round by round, and reports each as a share of its roof.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "bench/roofs.h"

namespace longspan::bench {

// Operations, and the roofs of which the fastest bounds them.
struct Arithmetic {
  double operations = 0;
  std::vector<Roof> roofs;
};

// Something to time, and what it takes at least: bytes to read, and operations of one kind or several, one
// after the other. The slower of reading and computing is its bound.
struct Case {
  std::string name;               // without the number of threads
  int threads = 1;                // those of the roofs too
  std::function<void()> prepare;  // before each sample, not timed; may be empty
  std::function<void()> run;
  bool warm_up = true;  // whether to run it once before the first round
  double bytes = 0;
  size_t footprint_bytes = 0;  // what successive runs read before they come back to the same bytes
  std::vector<Arithmetic> arithmetic;
  // What a rate counts, of one run ("tokens/s"); with no unit it counts what binds.
  double amount = 0;
  std::string unit;
  // The share of the runs' time that went to communication, asked when all rounds are over; may be empty.
  std::function<double()> communication;
};

// Medians over rounds.
struct Result {
  std::string name;
  int threads = 1;
  bool is_roof = false;  // a roof itself: its rate alone
  double seconds = 0;    // of one run
  std::string bound;     // what binds
  std::string unit;      // of the rates
  double rate = 0;
  double roof_rate = 0;  // 0: this machine has no roof for the case
  double share = 0;      // of the roof measured in the same round
  std::optional<double> communication;
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
  // Prints results to stdout as they come. `cpus`: see Roofs. The filter must be a regular expression.
  Measurement(const MeasurementOptions& options, std::vector<int> cpus);

  const MeasurementOptions& options() const { return options_; }
  bool Wants(const std::string& name, int threads) const;

  // Measures the roofs alone.
  void RunRoofs();
  // Times the cases in turn, in every round, the roofs of each number of threads before them.
  void Run(const std::vector<Case>& cases);

  const std::vector<Result>& results() const { return results_; }

 private:
  // What was measured in one round, by number of threads and, of memory, by bytes read over and over.
  using RoundRoofs = std::map<std::pair<Roof, std::pair<int, size_t>>, double>;

  static RoundRoofs::key_type Key(const Case& timed, Roof roof);
  void MeasureRoofs(const Case& timed, RoundRoofs& roofs);
  double TimeSample(const Case& timed) const;
  Result Summarize(const Case& timed, const std::vector<double>& seconds,
                   const std::vector<RoundRoofs>& rounds) const;
  void Report(const Result& result);

  const MeasurementOptions options_;
  const std::regex filter_;
  Roofs roofs_;
  std::vector<Result> results_;
};

}  // namespace longspan::bench
