#include "launcher/load/workload.h"

#include <utility>

namespace longspan::load {

int64_t Workload::users() const {
  const auto* closed = std::get_if<ClosedLoop>(&options_.arrivals);
  return closed == nullptr ? 0 : closed->users;
}

std::optional<PlannedRequest> Workload::Next() {
  if (options_.requests && count_ >= *options_.requests) return std::nullopt;
  PlannedRequest request;
  if (const auto* trace = std::get_if<TraceArrivals>(&options_.arrivals)) {
    if (count_ >= std::ssize(trace->requests)) return std::nullopt;
    request = trace->requests[static_cast<size_t>(count_)];
  } else {
    if (const auto* poisson = std::get_if<PoissonArrivals>(&options_.arrivals)) {
      now_s_ += random_.Exponential(poisson->rate);
      request.arrival_s = now_s_;
    }
    request.input_tokens = options_.input.Sample(random_);
    request.output_tokens = options_.output.Sample(random_);
  }
  if (options_.duration_s && request.arrival_s > *options_.duration_s) return std::nullopt;
  ++count_;
  return request;
}

}  // namespace longspan::load
