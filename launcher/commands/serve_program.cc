#include "launcher/commands/serve_program.h"

#include <optional>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "launcher/interrupts.h"
#include "launcher/model_texts.h"
#include "runtime/api/api_server.h"
#include "runtime/coordinator/coordinator.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLastAnswers{2000};  // to leave after the last request has ended
constexpr milliseconds kLastErrors{1000};
constexpr milliseconds kTellStatusEvery{100};

class ServeProgram final : public GroupProgram {
 public:
  ServeProgram(ServeOptions options, const RankEnv& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<int64_t> Prepare(const ModelSource& source) override;
  void OnProgress(double fraction) override { server_->SetProgress(fraction); }
  void OnLoss(const absl::Status& loss) override;
  absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double load_s) override;

 private:
  // Between two steps.
  void Tick(ServingGroup& serving, Coordinator& coordinator);
  void LookForSignal(Coordinator& coordinator);

  ServeOptions options_;
  const RankEnv env_;
  const SteadyClock clock_;
  std::optional<ModelTexts> texts_;
  std::unique_ptr<ApiServer> server_;
  GroupId group_ = 0;
  Clock::Time told_;
  int signal_ = 0;  // that ends it
};

absl::StatusOr<int64_t> ServeProgram::Prepare(const ModelSource& source) {
  const std::string address = absl::StrCat("--host ", options_.http.host, " --port ", options_.http.port);
  LONGSPAN_ASSIGN_OR_RETURN(server_, ListenForHttp(&options_.http, address, options_.model.model, clock_));
  LONGSPAN_ASSIGN_OR_RETURN(texts_, ModelTexts::Open(source));
  return options_.serving.max_sequences;
}

void ServeProgram::Tick(ServingGroup& serving, Coordinator& coordinator) {
  if (const Clock::Time now = clock_.Now(); now - told_ > kTellStatusEvery) {
    told_ = now;
    coordinator.SetStatus(group_, serving.status());
  }
  if (signal_ == 0) LookForSignal(coordinator);
  if (signal_ != 0 && coordinator.drained()) serving.Drain(Clock::Duration::zero());
}

void ServeProgram::LookForSignal(Coordinator& coordinator) {
  signal_ = PendingInterrupt();
  if (signal_ == 0) return;
  const Clock::Duration timeout = DrainTime(signal_, env_.size, FromSeconds(options_.http.drain_timeout_s));
  spdlog::info("draining: no new requests, {} open ones may go on for {} s; a second signal ends at once",
               coordinator.open(), ToSeconds(timeout));
  server_->SetDraining();
  coordinator.Drain(timeout);
}

absl::StatusOr<int> ServeProgram::Drive(const ModelSource& source, Group& group, double load_s) {
  LONGSPAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<ServingGroup> serving,
      ServingGroup::Create(source, *texts_, group, options_.model, options_.serving, clock_));
  CoordinatorOptions coordinator_options = CoordinatorOptionsFor(source.config(), options_.model);
  coordinator_options.eos_token_ids = texts_->eos_token_ids;
  LONGSPAN_ASSIGN_OR_RETURN(coordinator_options.decision_log, OpenDecisionLog(options_.http));
  coordinator_options.dispatcher.max_waiting = options_.http.max_queue;
  Coordinator coordinator(std::move(coordinator_options), clock_);
  LONGSPAN_ASSIGN_OR_RETURN(group_, coordinator.AddGroup(serving->description(), [&](GroupId) {
    // Outlives the coordinator.
    return std::shared_ptr<GroupLink>(&serving->link(), [](GroupLink*) {});
  }));
  ServedModel model = texts_->Serve(options_.http.served_model_name);
  model.coordinator = &coordinator;
  server_->SetReady(std::move(model));
  spdlog::info("ready after {:.1f} s of loading: {} requests at once, contexts of up to {} tokens", load_s,
               options_.serving.max_sequences, coordinator.limits().store_tokens);
  const absl::Status ended = serving->Run([&] { Tick(*serving, coordinator); });
  if (!ended.ok()) {
    server_->Fail(ended);
    coordinator.Fail(ended);
  }
  server_->Finish(ended.ok() ? kLastAnswers : kLastErrors);
  server_.reset();
  LONGSPAN_RETURN_IF_ERROR(ended);
  spdlog::info("ended in order");
  return ExitCodeAfter(signal_);
}

void ServeProgram::OnLoss(const absl::Status& loss) {
  if (server_ == nullptr) return;
  server_->Fail(loss);
  server_->Finish(kLastErrors);
}

}  // namespace

std::unique_ptr<GroupProgram> NewServeProgram(ServeOptions options, const RankEnv& env) {
  return std::make_unique<ServeProgram>(std::move(options), env);
}

}  // namespace longspan
