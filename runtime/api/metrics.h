// What /metrics tells, in Prometheus' text format. Names begin with longspan_.
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/coordinator/coordinator.h"

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

  void ObserveHandoff(const KvArrival& arrival);

  std::string Render(const ClusterView& cluster);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace longspan
