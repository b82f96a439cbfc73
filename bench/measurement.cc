#include "bench/measurement.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/strings/match.h"
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
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// The least time that a case can take with the roofs of one round.
struct Bound {
  double seconds = 0;  // 0: no roof is known
  std::string name;
  double work = 0;  // what binds, of one run: bytes, or operations
  std::string_view unit;
};

template <typename RateOf>
Bound ComputeBound(const Case& timed, RateOf rate_of) {
  Bound bound;
  for (const Arithmetic& part : timed.arithmetic) {
    Roof fastest = part.roofs.front();
    for (Roof roof : part.roofs) fastest = rate_of(roof) > rate_of(fastest) ? roof : fastest;
    if (part.operations == 0) continue;
    if (rate_of(fastest) == 0) {  // without a roof for a part there is none for the whole
      bound = {};
      break;
    }
    bound.seconds += part.operations / rate_of(fastest);
    bound.work += part.operations;
    bound.unit = Traits(fastest).unit;
    const std::string name(Traits(fastest).name);
    if (!absl::StrContains(bound.name, name))
      absl::StrAppend(&bound.name, bound.name.empty() ? "" : " + ", name);
  }
  if (timed.bytes > 0 && timed.bytes / rate_of(Roof::kRead) > bound.seconds) {
    bound = {timed.bytes / rate_of(Roof::kRead), std::string(Traits(Roof::kRead).name), timed.bytes,
             Traits(Roof::kRead).unit};
  }
  return bound;
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
      result.is_roof = true;
      result.bound = Traits(roof).name;
      result.unit = Traits(roof).unit;
      result.rate = Median(rates) * 1e-9;
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

Measurement::RoundRoofs::key_type Measurement::Key(const Case& timed, Roof roof) {
  const size_t bytes = roof == Roof::kRead ? std::min(timed.footprint_bytes, Roofs::kLargestRead) : 0;
  return {roof, {timed.threads, bytes}};
}

void Measurement::MeasureRoofs(const Case& timed, RoundRoofs& roofs) {
  std::vector<Roof> needed;
  if (timed.bytes > 0) needed.push_back(Roof::kRead);
  for (const Arithmetic& part : timed.arithmetic) {
    needed.insert(needed.end(), part.roofs.begin(), part.roofs.end());
  }
  for (Roof roof : needed) {
    const auto key = Key(timed, roof);
    if (roofs.contains(key)) continue;
    roofs[key] = roof == Roof::kRead ? roofs_.Read(key.second.second, timed.threads)
                                     : roofs_.Arithmetic(roof, timed.threads);
  }
}

double Measurement::TimeSample(const Case& timed) const {
  if (timed.prepare) timed.prepare();
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
  for (const Case& timed : cases) {
    if (!timed.warm_up) continue;
    if (timed.prepare) timed.prepare();
    timed.run();
  }
  for (RoundRoofs& round : roofs) {
    for (size_t i = 0; i < cases.size(); ++i) {
      MeasureRoofs(cases[i], round);
      seconds[i].push_back(TimeSample(cases[i]));
    }
  }
  for (size_t i = 0; i < cases.size(); ++i) Report(Summarize(cases[i], seconds[i], roofs));
}

Result Measurement::Summarize(const Case& timed, const std::vector<double>& seconds,
                              const std::vector<RoundRoofs>& rounds) const {
  const auto bound_in = [&](const RoundRoofs& round) {
    return ComputeBound(timed, [&](Roof roof) { return round.at(Key(timed, roof)); });
  };
  const auto median_of = [&](Roof roof) {
    std::vector<double> rates;
    for (const RoundRoofs& round : rounds) rates.push_back(round.at(Key(timed, roof)));
    return Median(rates);
  };
  const Bound bound = ComputeBound(timed, median_of);
  std::vector<double> shares;
  for (size_t i = 0; i < rounds.size(); ++i) shares.push_back(bound_in(rounds[i]).seconds / seconds[i]);
  Result result;
  result.name = timed.name;
  result.threads = timed.threads;
  result.seconds = Median(seconds);
  result.bound = bound.name;
  result.unit = timed.unit.empty() ? std::string(bound.unit) : timed.unit;
  const double amount = timed.unit.empty() ? bound.work * 1e-9 : timed.amount;
  result.rate = amount / result.seconds;
  result.roof_rate = bound.seconds > 0 ? amount / bound.seconds : 0;
  result.share = Median(shares);
  if (timed.communication) result.communication = timed.communication();
  return result;
}

void Measurement::Report(const Result& result) {
  const auto rate_text = [&](double rate) {
    return rate == 0 ? "none" : absl::StrFormat("%.1f %s", rate, result.unit);
  };
  std::string line = absl::StrFormat("%-66s", NameWithThreads(result.name, result.threads));
  if (result.is_roof) {
    absl::StrAppendFormat(&line, " %10s %16s", "", rate_text(result.rate));
  } else {
    absl::StrAppendFormat(&line, " %7.3f ms %16s %16s", result.seconds * 1e3, rate_text(result.rate),
                          rate_text(result.roof_rate));
    if (result.roof_rate > 0)
      absl::StrAppendFormat(&line, " %4.0f %% of %s", result.share * 100, result.bound);
    if (result.communication)
      absl::StrAppendFormat(&line, ", communication %.0f %%", *result.communication * 100);
  }
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  results_.push_back(result);
}

}  // namespace longspan::bench
