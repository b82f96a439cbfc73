#include "launcher/load/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace longspan::load {
namespace {

TokenLengths Lengths(const char* text) { return TokenLengths::Parse(text).value(); }

TEST(TokenLengthsTest, Parses) {
  Random random(1);
  EXPECT_EQ(Lengths("512").Sample(random), 512);
  int64_t least = 1000, most = 0;
  for (int i = 0; i < 2000; ++i) {
    const int64_t length = Lengths("3-9").Sample(random);
    least = std::min(least, length);
    most = std::max(most, length);
  }
  EXPECT_EQ(least, 3);
  EXPECT_EQ(most, 9);
  for (const char* text : {"1000+-200", "1000±200"}) {
    double sum = 0, squares = 0;
    constexpr int kCount = 20000;
    for (int i = 0; i < kCount; ++i) {
      const auto length = static_cast<double>(Lengths(text).Sample(random));
      EXPECT_NEAR(length, 1000, 600.5);
      sum += length;
      squares += length * length;
    }
    const double mean = sum / kCount;
    EXPECT_NEAR(mean, 1000, 10);
    EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), 200, 6);
  }
  EXPECT_EQ(Lengths("7+-0").Sample(random), 7);
  for (int i = 0; i < 100; ++i) EXPECT_GE(Lengths("1+-5").Sample(random), 1);
  for (const char* text :
       {"", "0", "-1", "9-3", "a", "1-", "0-4", "5+-", "1.5", "5+--1", "999999999999", "3-4-5"}) {
    EXPECT_FALSE(TokenLengths::Parse(text).ok()) << text;
  }
}

WorkloadOptions Poisson(double rate, uint64_t seed) {
  WorkloadOptions options;
  options.arrivals = PoissonArrivals{rate};
  options.input = Lengths("10-20");
  options.output = Lengths("5");
  options.seed = seed;
  return options;
}

TEST(WorkloadTest, PoissonArrivals) {
  WorkloadOptions options = Poisson(50, 3);
  options.duration_s = 400;
  Workload workload(options), same(options), other(Poisson(50, 4));
  EXPECT_EQ(workload.users(), 0);
  double last_s = 0;
  std::vector<double> gaps_s;
  bool differs = false;
  while (const std::optional<PlannedRequest> request = workload.Next()) {
    EXPECT_LE(request->arrival_s, 400);
    gaps_s.push_back(request->arrival_s - last_s);
    last_s = request->arrival_s;
    const PlannedRequest twin = *same.Next();
    EXPECT_EQ(twin.arrival_s, request->arrival_s);
    EXPECT_EQ(twin.input_tokens, request->input_tokens);
    differs = differs || other.Next()->arrival_s != request->arrival_s;
  }
  EXPECT_TRUE(differs);
  // 20,000 expected; four standard deviations. Gaps: exponential, so deviation = mean and median = mean ln 2.
  EXPECT_NEAR(static_cast<double>(gaps_s.size()), 20000, 600);
  double squares = 0;
  for (const double gap_s : gaps_s) squares += (gap_s - 0.02) * (gap_s - 0.02);
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(gaps_s.size())), 0.02, 0.001);
  std::sort(gaps_s.begin(), gaps_s.end());
  EXPECT_NEAR(gaps_s[gaps_s.size() / 2], 0.02 * std::log(2), 0.001);
}

TEST(WorkloadTest, EndsAfterSoManyRequests) {
  WorkloadOptions options = Poisson(1, 0);
  options.requests = 3;
  options.arrivals = ClosedLoop{2};
  Workload workload(options);
  EXPECT_EQ(workload.users(), 2);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(workload.Next().has_value());
  EXPECT_FALSE(workload.Next().has_value());
}

TEST(WorkloadTest, ReplaysATrace) {
  WorkloadOptions options;
  options.arrivals = TraceArrivals{{{.arrival_s = 0, .input_tokens = 4},
                                    {.arrival_s = 1, .input_tokens = 5},
                                    {.arrival_s = 2, .input_tokens = 6}}};
  Workload all(options);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(all.Next()->input_tokens, 4 + i);
  EXPECT_FALSE(all.Next().has_value());
  options.duration_s = 1;
  Workload some(options);
  EXPECT_TRUE(some.Next() && some.Next());
  EXPECT_FALSE(some.Next().has_value());
}

}  // namespace
}  // namespace longspan::load
