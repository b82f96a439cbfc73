#include "tests/group/local_group.h"

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/support/deferred_backend.h"

namespace longspan::testing {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value, const char* what) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s: %s\n", what, value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

void OrDie(const absl::Status& status, const char* what) {
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
    std::abort();
  }
}

class Recorder final : public RequestListener {
 public:
  explicit Recorder(Generated& result) : result_(result) {}
  void OnLogits(int64_t, std::span<const float> logits) override {
    result_.logits.insert(result_.logits.end(), logits.begin(), logits.end());
  }
  bool OnToken(int32_t token) override {
    result_.tokens.push_back(token);
    return true;
  }
  void OnFinish(FinishReason reason) override { result_.reason = reason; }

 private:
  Generated& result_;
};

std::unique_ptr<Backend> MakeBackend(const LocalGroupOptions& options) {
  CpuBackendOptions cpu;
  cpu.threads = options.threads;
  cpu.isa = options.isa;
  cpu.activation = options.activation;
  std::unique_ptr<Backend> backend = OrDie(CreateCpuBackend(cpu), "backend");
  if (options.deferred) backend = CreateDeferredBackend(std::move(backend), {});
  return backend;
}

GroupOptions MakeGroupOptions(const LocalGroupOptions& options) {
  GroupOptions group;
  group.tp = options.tp;
  group.kvp = options.kvp;
  group.numerics.block_size = options.block_size;
  group.numerics.kv_dtype = options.kv_dtype;
  group.numerics.activation = options.activation;
  group.numerics.isa = options.isa == Isa::kAuto ? DetectIsa() : options.isa;
  group.numerics.ways = ReductionWays(options.tp * options.kvp);
  group.kv_bytes = options.kv_bytes;
  group.max_sequences = 16;
  group.max_batch_tokens = options.chunk_tokens + group.max_sequences;
  return group;
}

void DriveEngine(Group& group, const ModelConfig& config, std::span<const Request> requests,
                 const LocalGroupOptions& options, GroupRun& run) {
  EngineOptions engine_options;
  engine_options.geometry = group.geometry();
  engine_options.chunk_tokens = options.chunk_tokens;
  engine_options.max_sequences = static_cast<int>(group.options().max_sequences);
  engine_options.max_context = group.options().max_context;
  engine_options.vocab_size = config.vocab_size;
  engine_options.max_logit_rows = group.options().max_logit_rows;
  engine_options.eos_token_ids = config.eos_token_ids;
  std::unique_ptr<Engine> engine = OrDie(Engine::Create(engine_options, &group), "engine");
  run.results.resize(requests.size());
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (size_t i = 0; i < requests.size(); ++i) {
    recorders.push_back(std::make_unique<Recorder>(run.results[i]));
    OrDie(engine->Submit(Copy(requests[i]), recorders.back().get()), "submit");
    run.prompt_rows += static_cast<int64_t>(requests[i].prompt.size());
  }
  while (engine->HasWork()) OrDie(engine->Step(), "step");
  run.steps = engine->steps();
  run.report = OrDie(group.Report(), "report");
  OrDie(group.Shutdown(), "shutdown");
}

}  // namespace

GroupRun RunRank(const ModelSource& source, Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator,
                 std::span<const Request> requests, const LocalGroupOptions& options) {
  const std::unique_ptr<Backend> backend = MakeBackend(options);
  const std::unique_ptr<Group> group =
      OrDie(Group::Create(source, bootstrap, std::move(communicator), *backend, MakeGroupOptions(options)),
            "group");
  GroupRun run;
  if (bootstrap.rank() == 0) {
    DriveEngine(*group, source.config(), requests, options, run);
  } else {
    OrDie(group->Serve(), "serve");
  }
  return run;
}

GroupRun RunLocalGroup(const std::string& model_path, std::span<const Request> requests,
                       const LocalGroupOptions& options) {
  const std::unique_ptr<ModelSource> source = OrDie(ModelSource::Open(model_path), "model");
  const int ranks = options.tp * options.kvp;
  auto bootstraps = CreateThreadBootstraps(ranks);
  auto communicators = CreateThreadCommunicators(ranks);
  GroupRun result;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      const size_t i = static_cast<size_t>(r);
      GroupRun run = RunRank(*source, *bootstraps[i], std::move(communicators[i]), requests, options);
      if (r == 0) result = std::move(run);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return result;
}

std::vector<float> PromptLogits(const std::string& model_path, const std::vector<int32_t>& tokens,
                                const LocalGroupOptions& options) {
  Request request;
  request.prompt = tokens;
  request.max_tokens = 0;
  request.prompt_logits = true;
  return std::move(RunLocalGroup(model_path, {&request, 1}, options).results[0].logits);
}

}  // namespace longspan::testing
