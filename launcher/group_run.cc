#include "launcher/group_run.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "comm/job_connections.h"
#include "comm/liveness.h"
#include "comm/mpi_environment.h"
#include "comm/progress_record.h"
#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/failure.h"
#include "launcher/interrupts.h"
#include "launcher/loading_progress.h"
#include "launcher/logging.h"
#include "launcher/rank_threads.h"

namespace longspan {
namespace {

absl::StatusOr<JobConnections> Connect(const MpiEnvironment* mpi, const Clock& clock) {
  if (mpi != nullptr) return ConnectJob(*mpi, clock);
  return JobConnections{std::move(CreateThreadBootstraps(1).front()),
                        std::move(CreateThreadCommunicators(1).front()), "nothing"};
}

// What the ranks decide together before they load: equal on all ranks but for the threads.
struct Plan {
  std::unique_ptr<ModelSource> source;
  GroupOptions group;
  int threads = 1;
};

// Each rank opens the model's files itself; rank 0 also prepares the command.
absl::Status OpenModel(const ModelOptions& options, const Bootstrap& bootstrap, GroupProgram& program,
                       Plan* plan) {
  LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options));
  LONGSPAN_ASSIGN_OR_RETURN(plan->source, ModelSource::Open(options.model));
  const ModelConfig& config = plan->source->config();
  LONGSPAN_ASSIGN_OR_RETURN(const RankGrid grid, ChooseGrid(options, config, bootstrap.size()));
  plan->group.tp = grid.tp;
  plan->group.kvp = grid.kvp;
  plan->group.max_context = options.max_context.value_or(config.max_context);
  if (plan->group.max_context > config.max_context) {
    return UsageError(absl::StrCat("--max-context ", plan->group.max_context,
                                   " is more than the model's context of ", config.max_context, " tokens"));
  }
  if (bootstrap.rank() == 0) {
    LONGSPAN_ASSIGN_OR_RETURN(plan->group.max_sequences, program.Prepare(*plan->source));
  }
  return absl::OkStatus();
}

// kAuto stands for int8 where a weight is in a block format; a model of plain weights alone uses f32.
ActivationDType ResolveActivation(ActivationDType asked, const ModelSource& source) {
  if (asked != ActivationDType::kAuto) return asked;
  const std::vector<WeightView> weights = source.AllWeights();
  const bool blocks = std::any_of(weights.begin(), weights.end(), [](const WeightView& weight) {
    return IsBlockFormat(weight.entry->dtype);
  });
  return blocks ? ActivationDType::kInt8 : ActivationDType::kF32;
}

// One instruction set for all ranks, and this rank's share of its cores.
absl::Status AgreeOnProcessors(const ModelOptions& options, Bootstrap& bootstrap, Plan* plan) {
  const Isa mine = options.isa == Isa::kAuto ? DetectIsa() : options.isa;
  const CoreSet cores = AvailableCores();
  const std::string blob = absl::StrCat(static_cast<int>(mine), " ", bootstrap.host(), " ", cores.mask);
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<std::string> blobs, bootstrap.AllGather(blob));
  std::vector<std::string> places;
  int weakest = 0;  // the enumerators go from the strongest to the weakest
  for (const std::string& other : blobs) {
    const size_t space = other.find(' ');
    int isa = 0;
    if (space == std::string::npos || !absl::SimpleAtoi(other.substr(0, space), &isa)) {
      return absl::InternalError("a rank sent a message of wrong form; do all ranks run the same program?");
    }
    weakest = std::max(weakest, isa);
    places.push_back(other.substr(space + 1));
  }
  plan->group.numerics.isa = static_cast<Isa>(weakest);
  plan->threads = options.threads ? static_cast<int>(*options.threads)
                                  : ThreadsOfRank(places, bootstrap.rank(), cores.count);
  return absl::OkStatus();
}

// The error is the same on all ranks.
absl::StatusOr<Plan> MakePlan(const ModelOptions& options, Bootstrap& bootstrap, GroupProgram& program) {
  Plan plan;
  LONGSPAN_RETURN_IF_ERROR(AgreeOn(bootstrap, OpenModel(options, bootstrap, program, &plan)));
  std::string max_sequences = absl::StrCat(plan.group.max_sequences);
  LONGSPAN_RETURN_IF_ERROR(bootstrap.Broadcast(&max_sequences, /*root=*/0));
  if (!absl::SimpleAtoi(max_sequences, &plan.group.max_sequences)) {
    return absl::InternalError("rank 0 sent a message of wrong form; do all ranks run the same program?");
  }
  LONGSPAN_RETURN_IF_ERROR(AgreeOnProcessors(options, bootstrap, &plan));
  plan.group.numerics.block_size = static_cast<int>(options.block_size);
  plan.group.numerics.kv_dtype = options.kv_dtype;
  plan.group.numerics.activation = ResolveActivation(options.activation, *plan.source);
  plan.group.numerics.ways = ReductionWays(bootstrap.size());
  plan.group.kv_bytes = static_cast<uint64_t>(options.kv_bytes);
  plan.group.max_batch_tokens = options.chunk_tokens + plan.group.max_sequences;
  return plan;
}

void LogPlan(const Plan& plan, int ranks, const std::string& transport) {
  spdlog::debug("{} ranks as tp {} x kvp {} over {}, {} threads on rank 0, numerics: {}", ranks,
                plan.group.tp, plan.group.kvp, transport, plan.threads, plan.group.numerics.ToString());
  if (plan.group.numerics.ways != kReductionWays) {
    spdlog::warn(
        "{} ranks do not divide {}: results depend on the number of ranks; use 1, 2, 4 or 8 for equal bits",
        ranks, kReductionWays);
  }
}

// A lost rank is noticed within 5 s, and the process manager needs 2 s to end those that are left.
constexpr unsigned kMostSecondsToEnd = 2;

LivenessOptions EndsJob(MpiEnvironment& mpi, GroupProgram& program) {
  LivenessOptions options;
  options.on_loss = [&program](const absl::Status& status) {
    // However long that takes: the default action of SIGALRM is to end the process.
    std::signal(SIGALRM, SIG_DFL);
    alarm(kMostSecondsToEnd);
    program.OnLoss(status);
  };
  options.print = [](const std::string& line) {
    std::fprintf(stderr, "longspan: %s\n", OneLine(line).c_str());
  };
  options.end = [&mpi] {
    if (mpi.rank() == 0) mpi.Abort(kExitFailure);
    _exit(kExitFailure);
  };
  return options;
}

// Ends this rank because of an error that others do not know of, with the exit code if it returns at all.
using FailAlone = std::function<int(const absl::Status&)>;

// Fails alone, before the group is destroyed: a broken group can no longer be shut down in order. An error
// that is returned has to end so as well.
absl::StatusOr<int> LoadAndRun(const ModelOptions& options, bool terse, Plan plan, JobConnections connections,
                               ProgressRecord& record, GroupProgram& program, const FailAlone& fail_alone) {
  Bootstrap& bootstrap = *connections.bootstrap;
  const bool first = bootstrap.rank() == 0;
  if (first) LogPlan(plan, bootstrap.size(), connections.transport);
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                            CreateCpuBackend({.threads = plan.threads,
                                              .isa = plan.group.numerics.isa,
                                              .activation = plan.group.numerics.activation}));
  const bool brief = terse && options.log_level != LogLevel::kDebug;
  const bool quiet = !first || options.log_format == LogFormat::kJson;
  LoadingProgress progress(options.model, quiet ? ProgressStyle::kQuiet : ChooseProgressStyle(brief));
  plan.group.record = &record;
  if (first) {
    plan.group.progress = [&](double fraction) {
      progress.Update(fraction);
      program.OnProgress(fraction);
    };
  }
  LONGSPAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<Group> group,
      Group::Create(*plan.source, bootstrap, std::move(connections.communicator), *backend, plan.group));
  const double load_s = progress.Done();

  RememberInterrupts();
  if (!first) {
    const absl::Status served = group->Serve();
    return served.ok() ? 0 : fail_alone(served);
  }
  const absl::StatusOr<int> code = program.Drive(*plan.source, *group, load_s);
  if (!code.ok()) return fail_alone(code.status());
  const absl::Status ended = group->Shutdown();
  return ended.ok() ? *code : fail_alone(ended);
}

}  // namespace

int RunOnGroup(const ModelOptions& options, const RankEnv& env, bool terse, GroupProgram& program,
               CreateTransport create_transport) {
  SetUpLogging(options.log_level, options.log_format, env);
  std::unique_ptr<MpiEnvironment> mpi;
  if (env.mpi) {
    absl::StatusOr<std::unique_ptr<MpiEnvironment>> created = MpiEnvironment::Create();
    if (!created.ok()) return ReportFailure(env, created.status());
    mpi = *std::move(created);
  }
  ProgressRecord record;
  const SteadyClock clock;
  std::unique_ptr<Liveness> liveness;
  const FailAlone fail_alone = [&](const absl::Status& status) {
    if (liveness != nullptr) liveness->Fail(status);  // does not return
    const int code = ReportFailure(env, status);
    if (mpi != nullptr && mpi->size() > 1) mpi->Abort(code);
    return code;
  };

  absl::StatusOr<JobConnections> connections = Connect(mpi.get(), clock);
  if (!connections.ok()) return fail_alone(connections.status());
  if (connections->bootstrap->size() > 1) {
    absl::StatusOr<std::unique_ptr<Liveness>> started =
        Liveness::Start(*connections->bootstrap, record, clock, EndsJob(*mpi, program));
    if (!started.ok()) return fail_alone(started.status());
    liveness = *std::move(started);
  }
  record.Rest("opening the model");
  absl::StatusOr<Plan> plan = MakePlan(options, *connections->bootstrap, program);
  if (plan.ok()) plan->group.create_transport = std::move(create_transport);
  if (!plan.ok()) return env.rank == 0 ? ReportFailure(env, plan.status()) : ExitCode(plan.status());
  const absl::StatusOr<int> code =
      LoadAndRun(options, terse, *std::move(plan), *std::move(connections), record, program, fail_alone);
  record.Rest("ending");
  return code.ok() ? *code : fail_alone(code.status());
}

}  // namespace longspan
