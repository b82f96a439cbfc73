// longspan_model_bench: whole steps of a model on a group of ranks, each as a share of what bounds it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "bench/model_cases.h"
#include "bench/options.h"
#include "bench/report.h"
#include "comm/clock.h"
#include "comm/job_connections.h"
#include "comm/mpi_environment.h"
#include "kernels/cpu/cpu_backend.h"
#include "kvstore/shard_map.h"

namespace longspan::bench {
namespace {

constexpr char kProgram[] = "longspan_model_bench";

// Ends all ranks: the others may be waiting for this one.
[[noreturn]] void Fail(MpiEnvironment& mpi, const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", kProgram, message.c_str());
  std::fflush(nullptr);
  if (mpi.size() > 1) mpi.Abort(1);
  std::exit(1);
}

template <typename T>
T OrFail(MpiEnvironment& mpi, absl::StatusOr<T> value) {
  if (!value.ok()) Fail(mpi, std::string(value.status().message()));
  return *std::move(value);
}
void OrFail(MpiEnvironment& mpi, const absl::Status& status) {
  if (!status.ok()) Fail(mpi, std::string(status.message()));
}

struct Options {
  std::string model;
  int threads = 1;  // of a rank
  ModelCaseOptions cases;
  MeasurementOptions measurement;
  OutputOptions output;
};

std::optional<int> ParseCommandLine(int argc, char** argv, Options* options) {
  CLI::App app(
      "Times steps of a model beside the machine's roofs, round by round; under mpirun, on every grid tp x "
      "kvp\n"
      "that the ranks can form, with the share of the time that rank 0 spends in communication.\n"
      "The bound of a step is what takes longest at its roof: reading weights and KV, or products and "
      "attention.");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", options->model, "GGUF file or Hugging Face folder")->required();
  app.add_option("--threads", options->threads, "threads of a rank")->check(CLI::Range(1, 1024));
  app.add_option("--batches", options->cases.batches, "sequences decoded together")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option("--depths", options->cases.depths,
                 "tokens of KV before those decoded; generated, not computed")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prefills", options->cases.prefills, "tokens of a prompt")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--chunk-tokens", options->cases.chunk_tokens, "tokens of a prompt in one step")
      ->check(CLI::PositiveNumber);
  AddCommonOptions(app, "decode/batch=1/", &options->measurement, &options->output);
  return ParseOptions(app, argc, argv);
}

// Runs the cases on one grid. Collective; only rank 0 has a measurement.
void RunGrid(const ModelSource& source, MpiEnvironment& mpi, const Clock& clock, Backend& backend,
             const RankGrid& grid, const Options& options, Measurement* measurement) {
  GroupOptions group_options;
  group_options.tp = grid.tp;
  group_options.kvp = grid.kvp;
  group_options.numerics.isa = DetectIsa();
  group_options.numerics.ways = ReductionWays(grid.ranks());
  group_options.max_context = options.cases.MaxContext();
  group_options.max_sequences = options.cases.MaxSequences();
  group_options.max_batch_tokens = options.cases.chunk_tokens + group_options.max_sequences;
  JobConnections job = OrFail(mpi, ConnectJob(mpi, clock));
  const auto group =
      OrFail(mpi, Group::Create(source, *job.bootstrap, std::move(job.communicator), backend, group_options));
  FillKv(*group);
  if (measurement == nullptr) {
    OrFail(mpi, group->Serve());
    return;
  }
  const int cpus = static_cast<int>(AvailableCpus().size());
  RunModelCases(source, *group, std::min(grid.ranks() * options.threads, cpus), options.cases, *measurement);
  OrFail(mpi, group->Shutdown());
}

int Main(int argc, char** argv) {
  Options options;
  options.measurement.rounds = 3;
  options.measurement.sample_seconds = 0.3;
  const auto created = MpiEnvironment::Create();
  if (!created.ok()) {
    std::fprintf(stderr, "%s: %s\n", kProgram, created.status().ToString().c_str());
    return 1;
  }
  MpiEnvironment& mpi = **created;
  const std::vector<int> cpus = AvailableCpus();
  options.threads = std::max(1, static_cast<int>(cpus.size()) / mpi.size());
  if (const std::optional<int> code = ParseCommandLine(argc, argv, &options)) return *code;
  const SteadyClock clock;
  const JobConnections job = OrFail(mpi, ConnectJob(mpi, clock));
  const std::vector<std::string> hosts = OrFail(mpi, job.bootstrap->AllGather(mpi.host()));
  if (std::set<std::string>(hosts.begin(), hosts.end()).size() > 1) {
    Fail(mpi, "ranks are on several machines, but roofs are one machine's; start all ranks on one");
  }
  const auto source = OrFail(mpi, ModelSource::Open(options.model));
  const ModelConfig& config = source->config();
  if (options.cases.MaxContext() > config.max_context) {
    Fail(mpi,
         absl::StrCat("the cases need ", options.cases.MaxContext(), " tokens of context and the model has ",
                      config.max_context, "; take smaller --depths or --prefills"));
  }
  const auto backend = OrFail(mpi, CreateCpuBackend({.threads = options.threads}));

  std::optional<Measurement> measurement;
  const OtherLoad load;
  if (mpi.rank() == 0) {
    std::printf(
        "%s, kernels %s, %s, %d ranks of %d threads, median of %d rounds; KV before depth is random\n",
        ProcessorName().c_str(), std::string(Name(DetectIsa())).c_str(), options.model.c_str(), mpi.size(),
        options.threads, options.measurement.rounds);
    measurement.emplace(options.measurement, cpus);
  }
  for (const RankGrid& grid :
       ValidGrids({config.num_heads, config.num_kv_heads, config.head_dim}, mpi.size())) {
    RunGrid(*source, mpi, clock, *backend, grid, options, measurement ? &*measurement : nullptr);
  }
  if (!measurement) return 0;
  const RunContext context = {{"model", options.model},
                              {"ranks", absl::StrCat(mpi.size())},
                              {"threads_per_rank", absl::StrCat(options.threads)}};
  return Finish(kProgram, options.output.json_path, context, *measurement,
                mpi.size() == 1 ? load.Cpus() : -1);
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
