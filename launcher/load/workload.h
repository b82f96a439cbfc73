// Which requests a run makes, and when.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "launcher/load/random.h"
#include "launcher/load/token_lengths.h"
#include "launcher/load/trace.h"

namespace longspan::load {

// Open loop: requests arrive at random, `rate` a second on average (a Poisson process), whatever becomes of
// earlier ones.
struct PoissonArrivals {
  double rate = 1;
};
// Closed loop: each of `users` makes its next request when its last one has ended, a moment later when that
// one has failed.
struct ClosedLoop {
  int64_t users = 1;
};
// Open loop: the arrivals and lengths of a trace, already scaled.
struct TraceArrivals {
  std::vector<PlannedRequest> requests;
};

struct WorkloadOptions {
  std::variant<PoissonArrivals, ClosedLoop, TraceArrivals> arrivals;
  TokenLengths input, output;       // not with a trace
  std::optional<int64_t> requests;  // at most
  std::optional<double>
      duration_s;  // no request arrives later; in a closed loop that is for the caller to see to
  uint64_t seed = 0;
};

// The sequence is a function of the options alone. One thread at a time.
class Workload {
 public:
  explicit Workload(WorkloadOptions options) : options_(std::move(options)), random_(options_.seed) {}

  // Nothing when there are no more.
  std::optional<PlannedRequest> Next();
  // 0 in an open loop.
  int64_t users() const;
  const WorkloadOptions& options() const { return options_; }

 private:
  WorkloadOptions options_;
  Random random_;
  int64_t count_ = 0;
  double now_s_ = 0;
};

}  // namespace longspan::load
