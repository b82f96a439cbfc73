#include "launcher/load/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace longspan::load {

double Percentile(std::span<const double> sorted, double percent) {
  const double rank = percent / 100 * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], rank - static_cast<double>(below));
}

Summary Summarize(std::vector<double> values) {
  Summary summary;
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  summary.count = std::ssize(values);
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  summary.min = values.front();
  summary.p1 = Percentile(values, 1);
  summary.p5 = Percentile(values, 5);
  summary.p10 = Percentile(values, 10);
  summary.p50 = Percentile(values, 50);
  summary.p90 = Percentile(values, 90);
  summary.p95 = Percentile(values, 95);
  summary.p99 = Percentile(values, 99);
  summary.max = values.back();
  return summary;
}

}  // namespace longspan::load
