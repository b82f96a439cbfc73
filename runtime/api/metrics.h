// What /metrics tells, in Prometheus' text format. Names begin with longspan_.
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/engine_snapshot.h"

namespace longspan {

// What a rank sends, by operation of the communicator.
struct CommTotals {
  std::string operation;
  uint64_t bytes = 0;
  uint64_t operations = 0;
};

// Threads: all methods from any thread.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  // How a call to generate ended: "stop", "length", "tool_calls", "cancelled", "deadline", "error",
  // "rejected" (429 or 503), "invalid" (other 4xx).
  void CountRequest(std::string_view outcome);
  void ObserveQueue(double seconds);
  void ObserveFirstToken(double seconds);
  void ObserveGap(double seconds);  // between tokens of one choice
  void ObserveEndToEnd(double seconds);

  // Of what the group last sent, from rank 0. Replaces the former.
  void SetComm(const std::vector<CommTotals>& totals);

  // `page_bytes`: of one page of KV on each rank of the group, [tp * kvp].
  std::string Render(const EngineSnapshot& snapshot, const std::vector<uint64_t>& page_bytes, int kvp);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace longspan
