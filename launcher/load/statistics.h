// What a list of measured values says.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longspan::load {

// Between the two values nearest in rank, linearly, as numpy's default does. `sorted` ascends and is not
// empty; 0 <= percent <= 100.
double Percentile(std::span<const double> sorted, double percent);

struct Summary {
  int64_t count = 0;  // when 0 the rest is 0
  double mean = 0, min = 0, p1 = 0, p5 = 0, p10 = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};

Summary Summarize(std::vector<double> values);

}  // namespace longspan::load
