#include "launcher/commands/worker_program.h"

#include <mutex>
#include <optional>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/interrupts.h"
#include "launcher/model_texts.h"
#include "runtime/coordinator/group_agent.h"

namespace longspan {
namespace {

class WorkerProgram final : public GroupProgram {
 public:
  WorkerProgram(WorkerOptions options, const RankEnv& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<int64_t> Prepare(const ModelSource& source) override;
  void OnLoss(const absl::Status& loss) override;
  absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double load_s) override;

 private:
  // Between two steps.
  void Tick(ServingGroup& serving);

  WorkerOptions options_;
  const RankEnv env_;
  const SteadyClock clock_;
  std::optional<ModelTexts> texts_;
  ControlTls tls_;
  int signal_ = 0;  // that ends it
  Clock::Time drain_end_;
  absl::Status refusal_;

  std::mutex mutex_;  // of the following: a lost rank is told of on another thread
  std::unique_ptr<GroupAgent> agent_;
};

absl::StatusOr<int64_t> WorkerProgram::Prepare(const ModelSource& source) {
  LONGSPAN_ASSIGN_OR_RETURN(tls_, ReadControlTls(options_.control_files));
  LONGSPAN_ASSIGN_OR_RETURN(texts_, ModelTexts::Open(source));
  return options_.serving.max_sequences;
}

void WorkerProgram::Tick(ServingGroup& serving) {
  if (refusal_ = agent_->refusal(); !refusal_.ok()) {
    serving.Drain(Clock::Duration::zero());
    return;
  }
  if (signal_ == 0 && (signal_ = PendingInterrupt()) != 0) {
    const Clock::Duration timeout = DrainTime(signal_, env_.size, FromSeconds(options_.drain_timeout_s));
    spdlog::info(
        "draining: no new requests, {} open ones may go on here for {} s and then go on elsewhere; a second "
        "signal ends at once",
        agent_->open(), ToSeconds(timeout));
    drain_end_ = clock_.Now() + timeout;
    agent_->Drain();
  }
  if (signal_ != 0 && ((agent_->drained() && agent_->open() == 0) || clock_.Now() >= drain_end_)) {
    serving.Drain(Clock::Duration::zero());
  }
}

absl::StatusOr<int> WorkerProgram::Drive(const ModelSource& source, Group& group, double load_s) {
  LONGSPAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<ServingGroup> serving,
      ServingGroup::Create(source, *texts_, group, options_.model, options_.serving, clock_));
  GroupAgentOptions agent;
  agent.coordinator = options_.coordinator;
  agent.tls = tls_;
  agent.description = serving->description();
  if (agent.description.name.empty()) {
    agent.description.name =
        absl::StrCat(std::string(Name(agent.description.role)), "@", agent.description.hosts.front());
  }
  LogControlErrors();
  spdlog::info("ready after {:.1f} s of loading, joining the coordinator at {}", load_s,
               options_.coordinator);
  {
    const std::lock_guard lock(mutex_);
    agent_ = std::make_unique<GroupAgent>(
        std::move(agent), serving->link(), [&] { return serving->status(); }, clock_);
  }
  const absl::Status ended = serving->Run([&] { Tick(*serving); });
  {
    const std::lock_guard lock(mutex_);
    agent_->Leave(ended);
    agent_.reset();
  }
  LONGSPAN_RETURN_IF_ERROR(ended);
  if (!refusal_.ok()) {
    spdlog::error("the coordinator at {} does not take this group: {}", options_.coordinator,
                  std::string(refusal_.message()));
    return 1;
  }
  spdlog::info("ended in order");
  return ExitCodeAfter(signal_);
}

void WorkerProgram::OnLoss(const absl::Status& loss) {
  const std::lock_guard lock(mutex_);
  if (agent_ != nullptr) agent_->Leave(loss);
}

}  // namespace

std::unique_ptr<GroupProgram> NewWorkerProgram(WorkerOptions options, const RankEnv& env) {
  return std::make_unique<WorkerProgram>(std::move(options), env);
}

}  // namespace longspan
