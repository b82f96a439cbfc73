#include "bench/measurement.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"

namespace longspan::bench {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  LONGSPAN_CHECK(!values.empty());
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::string NameWithThreads(const std::string& name, int threads) {
  return absl::StrCat(name, "/threads=", threads);
}

Measurement::Measurement(const MeasurementOptions& options, std::vector<int> cpus)
    : options_(options), filter_(options.filter), roofs_(std::move(cpus)) {
  std::printf("%-66s %10s %16s %16s  %s\n", "", "time", "rate", "roof", "share");
}

bool Measurement::Wants(const std::string& name, int threads) const {
  return std::regex_search(NameWithThreads(name, threads), filter_);
}

void Measurement::RunRoofs() {
  const auto measure = [&](Roof roof, const std::string& name, const std::function<double(int)>& rate_of) {
    for (int threads : options_.thread_counts) {
      if (!Wants(name, threads)) continue;
      std::vector<double> rates;
      for (int round = 0; round < options_.rounds; ++round) rates.push_back(rate_of(threads));
      Result result;
      result.name = name;
      result.threads = threads;
      result.bound = roof;
      result.is_roof = true;
      result.rate = Median(rates);
      Report(result);
    }
  };
  for (Roof roof : {Roof::kInt8Dot, Roof::kBf16Dot, Roof::kF32Fma}) {
    measure(roof, absl::StrCat("roof/", std::string(Traits(roof).name)),
            [&](int threads) { return roofs_.Arithmetic(roof, threads); });
  }
  for (size_t megabytes : {250, 1200}) {
    measure(Roof::kRead, absl::StrCat("roof/read/", megabytes, "MB"),
            [&](int threads) { return roofs_.Read(megabytes * 1'000'000, threads); });
  }
}

void Measurement::MeasureRoofs(const Case& timed, RoundRoofs& roofs) {
  if (timed.bytes > 0 && !roofs.contains({Roof::kRead, timed.threads})) {
    const size_t bytes = std::min(timed.footprint_bytes, Roofs::kLargestRead);
    roofs[{Roof::kRead, timed.threads}] = roofs_.Read(bytes, timed.threads);
  }
  for (Roof roof : timed.arithmetic) {
    if (!roofs.contains({roof, timed.threads}))
      roofs[{roof, timed.threads}] = roofs_.Arithmetic(roof, timed.threads);
  }
}

double Measurement::TimeRun(const Case& timed) const {
  const double begin = Now();
  double elapsed = 0;
  int64_t runs = 0;
  do {
    timed.run();
    ++runs;
    elapsed = Now() - begin;
  } while (elapsed < options_.sample_seconds);
  return elapsed / static_cast<double>(runs);
}

void Measurement::Run(const std::vector<Case>& cases) {
  std::vector<std::vector<double>> seconds(cases.size());
  std::vector<RoundRoofs> roofs(static_cast<size_t>(options_.rounds));
  for (const Case& timed : cases) timed.run();
  for (RoundRoofs& round : roofs) {
    for (size_t i = 0; i < cases.size(); ++i) {
      MeasureRoofs(cases[i], round);
      seconds[i].push_back(TimeRun(cases[i]));
    }
  }
  for (size_t i = 0; i < cases.size(); ++i) Report(Summarize(cases[i], seconds[i], roofs));
}

Result Measurement::Summarize(const Case& timed, const std::vector<double>& seconds,
                              const std::vector<RoundRoofs>& rounds) const {
  const auto rates_of = [&](Roof roof) {
    std::vector<double> rates;
    for (const RoundRoofs& round : rounds) rates.push_back(round.at({roof, timed.threads}));
    return rates;
  };
  Result result;
  result.name = timed.name;
  result.threads = timed.threads;
  result.seconds = Median(seconds);
  for (Roof roof : timed.arithmetic) {
    const double rate = Median(rates_of(roof));
    if (rate > result.roof_rate) {
      result.bound = roof;
      result.roof_rate = rate;
    }
  }
  double work = timed.operations;
  if (timed.bytes > 0) {
    const double rate = Median(rates_of(Roof::kRead));
    if (result.roof_rate == 0 || timed.bytes / rate > timed.operations / result.roof_rate) {
      result.bound = Roof::kRead;
      result.roof_rate = rate;
      work = timed.bytes;
    }
  }
  result.rate = work / result.seconds;
  if (result.roof_rate == 0) return result;
  std::vector<double> shares = rates_of(result.bound);
  for (size_t i = 0; i < shares.size(); ++i) shares[i] = work / seconds[i] / shares[i];
  result.share = Median(shares);
  return result;
}

void Measurement::Report(const Result& result) {
  const RoofTraits& traits = Traits(result.bound);
  const auto rate_text = [&](double rate) {
    return rate == 0 ? "none" : absl::StrFormat("%.1f %s", rate * 1e-9, std::string(traits.unit));
  };
  std::string line = absl::StrFormat("%-66s", NameWithThreads(result.name, result.threads));
  if (result.is_roof) {
    absl::StrAppendFormat(&line, " %10s %16s", "", rate_text(result.rate));
  } else {
    absl::StrAppendFormat(&line, " %7.3f ms %16s %16s", result.seconds * 1e3, rate_text(result.rate),
                          rate_text(result.roof_rate));
    if (result.roof_rate > 0)
      absl::StrAppendFormat(&line, " %4.0f %% of %s", result.share * 100, std::string(traits.name));
  }
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  results_.push_back(result);
}

}  // namespace longspan::bench
