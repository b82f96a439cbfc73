// longspan_kernel_bench: the CPU backend's matrix products and attention, each as a share of what bounds it.
#include <cstdio>
#include <regex>
#include <string>

#include <CLI/CLI.hpp>

#include "bench/kernel_cases.h"
#include "bench/report.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace longspan::bench {
namespace {

// The backend's own threads come first on the CPUs after the first, which is the caller's.
std::vector<BoundBackend> MakeBackends(const std::vector<int>& thread_counts, const std::vector<int>& cpus) {
  std::vector<BoundBackend> backends;
  for (int threads : thread_counts) {
    BindToCpus(threads == 1 ? cpus : std::vector<int>(cpus.begin() + 1, cpus.begin() + threads));
    auto backend = CreateCpuBackend({.threads = threads});
    LONGSPAN_CHECK(backend.ok());
    backends.push_back({threads, *std::move(backend)});
  }
  BindToCpus({cpus[0]});
  return backends;
}

int Main(int argc, char** argv) {
  MeasurementOptions options;
  KernelCaseOptions case_options;
  std::string json_path;
  const std::vector<int> cpus = AvailableCpus();
  const int num_cpus = static_cast<int>(cpus.size());
  if (num_cpus == 1) options.thread_counts = {1};
  CLI::App app(
      "Times matrix products and attention of the CPU backend beside the machine's roofs, round by round.\n"
      "The bound of a case is what takes longest at its roof: reading its weights or KV, or its arithmetic.");
  app.option_defaults()->always_capture_default();
  app.add_option("--threads", options.thread_counts, "numbers of threads, bound to CPUs")
      ->delimiter(',')
      ->check(CLI::Range(1, num_cpus));
  app.add_option("--filter", options.filter,
                 "regular expression, found anywhere in a name, such as 'Q4_K/2048x8192/rows=1/threads=2' or "
                 "'^roof'");
  app.add_option("--rounds", options.rounds, "rounds; figures are medians")->check(CLI::Range(1, 1000));
  app.add_option("--footprint", case_options.footprint_bytes,
                 "bytes of weights or KV gone through before the first is used again; K, M, G")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--json", json_path, "file for the results");
  CLI11_PARSE(app, argc, argv);
  std::sort(options.thread_counts.begin(), options.thread_counts.end());
  if (case_options.footprint_bytes > Roofs::kLargestRead) {
    std::fprintf(stderr, "longspan_kernel_bench: --footprint %zu: at most %zu\n",
                 case_options.footprint_bytes, Roofs::kLargestRead);
    return 2;
  }
  try {
    std::regex check(options.filter);
  } catch (const std::regex_error& error) {
    std::fprintf(stderr, "longspan_kernel_bench: --filter %s: %s\n", options.filter.c_str(), error.what());
    return 2;
  }

  std::printf("%s, %d CPUs, kernels %s, median of %d rounds, footprint %zu MiB\n", ProcessorName().c_str(),
              num_cpus, std::string(Name(DetectIsa())).c_str(), options.rounds,
              case_options.footprint_bytes >> 20);
  const OtherLoad load;
  Measurement measurement(options, cpus);
  const std::vector<BoundBackend> backends = MakeBackends(options.thread_counts, cpus);
  measurement.RunRoofs();
  RunLinearCases(backends, case_options, measurement);
  RunAttentionCases(backends, case_options, measurement);
  std::printf("other programs kept %.2f CPUs busy meanwhile%s\n", load.Cpus(),
              load.Cpus() > 0.1 ? ": not a quiet machine, rerun for figures to keep" : "");
  if (measurement.results().empty()) {
    std::fprintf(stderr, "longspan_kernel_bench: --filter %s: matches nothing\n", options.filter.c_str());
    return 2;
  }
  if (json_path.empty()) return 0;
  const absl::Status written = WriteJson(json_path, measurement, num_cpus, load.Cpus());
  if (!written.ok()) std::fprintf(stderr, "longspan_kernel_bench: %s\n", written.ToString().c_str());
  return written.ok() ? 0 : 1;
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
