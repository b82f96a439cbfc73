// longspan_kernel_bench: the CPU backend's matrix products and attention, each as a share of what bounds it.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "bench/kernel_cases.h"
#include "bench/options.h"
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
  OutputOptions output;
  KernelCaseOptions case_options;
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
  app.add_option("--footprint", case_options.footprint_bytes,
                 "bytes of weights or KV gone through before the first is used again; K, M, G")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(size_t{1}, Roofs::kLargestRead));
  AddCommonOptions(app, "Q4_K/2048x8192/rows=1/threads=2", &options, &output);
  if (const std::optional<int> code = ParseOptions(app, argc, argv)) return *code;
  std::sort(options.thread_counts.begin(), options.thread_counts.end());

  std::printf("%s, %d CPUs, kernels %s, median of %d rounds, footprint %zu MiB\n", ProcessorName().c_str(),
              num_cpus, std::string(Name(DetectIsa())).c_str(), options.rounds,
              case_options.footprint_bytes >> 20);
  const OtherLoad load;
  Measurement measurement(options, cpus);
  const std::vector<BoundBackend> backends = MakeBackends(options.thread_counts, cpus);
  measurement.RunRoofs();
  RunLinearCases(backends, case_options, measurement);
  RunAttentionCases(backends, case_options, measurement);
  return Finish("longspan_kernel_bench", output.json_path, {}, measurement, load.Cpus());
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
