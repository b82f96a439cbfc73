// What /metrics tells, in Prometheus' text format. Names begin with longspan_.
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "runtime/engine/engine_snapshot.h"

namespace longspan {

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

  // What rank 0 has sent so far.
  void SetComm(const CommCounters& counters);

  // `page_bytes`: of one page of KV on each rank of the group, [tp * kvp].
  std::string Render(const EngineSnapshot& snapshot, const std::vector<uint64_t>& page_bytes, int kvp);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace longspan
