#include "runtime/engine/engine_loop.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

constexpr std::chrono::milliseconds kPublishEvery{100};
constexpr std::chrono::milliseconds kTickEvery{50};  // while there is nothing to do

}  // namespace

// Passes on what the engine says, and forgets the request at its end.
class EngineLoop::Forwarder final : public RequestListener {
 public:
  Forwarder(EngineLoop& loop, Ticket ticket, const Request& request,
            std::shared_ptr<ResponseListener> listener)
      : loop_(loop), ticket_(ticket), logprobs_(request.logprobs), listener_(std::move(listener)) {
    if (logprobs_ && request.prompt_logits) prompt_ = request.prompt;
  }

  void OnStart() override { listener_->OnStart(); }
  void OnLogits(int64_t position, std::span<const float> logits) override {
    if (!logprobs_) return;
    const auto next = static_cast<size_t>(position) + 1;
    if (next < prompt_.size()) {
      listener_->OnPromptLogprobs(ComputeLogprobs(logits, prompt_[next], static_cast<size_t>(*logprobs_)));
    } else {
      logits_.assign(logits.begin(), logits.end());
    }
  }
  bool OnToken(int32_t token) override {
    GeneratedToken generated = {.id = token, .pace = loop_.engine_.token_pace(), .logprobs = {}};
    if (logprobs_) generated.logprobs = ComputeLogprobs(logits_, token, static_cast<size_t>(*logprobs_));
    return listener_->OnToken(generated);
  }
  void OnReadyForKv() override { listener_->OnReadyForKv(); }
  void OnKvArrived(const KvArrival& arrival) override { listener_->OnKvArrived(arrival); }
  void OnFinish(FinishReason reason) override {
    listener_->OnFinish(reason);
    const auto it = loop_.requests_.find(ticket_);
    loop_.ended_.push_back(std::move(it->second));
    loop_.requests_.erase(it);
    --loop_.open_;
  }

  RequestId id = 0;

 private:
  EngineLoop& loop_;
  const Ticket ticket_;
  const std::optional<int> logprobs_;
  const std::shared_ptr<ResponseListener> listener_;
  std::vector<int32_t> prompt_;  // where its log-probabilities are asked for
  std::vector<float> logits_;    // [vocab], of the coming token; kept for log-probabilities only
};

EngineLoop::EngineLoop(Engine& engine, int64_t max_open, const Clock& clock)
    : engine_(engine),
      max_open_(max_open),
      clock_(clock),
      snapshot_(std::make_shared<const EngineSnapshot>(engine.Snapshot())),
      published_(clock.Now()) {}

EngineLoop::~EngineLoop() = default;

absl::Status EngineLoop::Admits() const {
  const std::lock_guard lock(mutex_);
  return AdmitsLocked();
}

absl::Status EngineLoop::AdmitsLocked() const {
  if (!fault_.ok()) return fault_;
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (open_ < max_open_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the server is full with ", open_.load(), " requests: try again later"));
}

absl::StatusOr<EngineLoop::Ticket> EngineLoop::Submit(Request request,
                                                      std::shared_ptr<ResponseListener> listener) {
  const std::lock_guard lock(mutex_);
  if (absl::Status status = AdmitsLocked(); !status.ok()) return status;
  ++open_;
  const Ticket ticket = next_ticket_++;
  commands_.push_back({.ticket = ticket, .request = std::move(request), .listener = std::move(listener)});
  changed_.notify_one();
  return ticket;
}

void EngineLoop::Cancel(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.ticket = ticket});
  changed_.notify_one();
}

void EngineLoop::Refuse(std::shared_ptr<ResponseListener> listener, absl::Status error) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.listener = std::move(listener), .refusal = std::move(error)});
  changed_.notify_one();
}

void EngineLoop::Continue(Ticket ticket, int32_t token) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.ticket = ticket, .next_token = token});
  changed_.notify_one();
}

void EngineLoop::KvArrived(const HandoffId& handoff, const KvArrival& arrival) {
  const std::lock_guard lock(mutex_);
  commands_.push_back({.arrival = std::pair(handoff, arrival)});
  changed_.notify_one();
}

void EngineLoop::Drain(Clock::Duration timeout) {
  const std::lock_guard lock(mutex_);
  if (draining_) return;
  draining_ = true;
  drain_end_ = clock_.Now() + timeout;
  changed_.notify_one();
}

std::shared_ptr<const EngineSnapshot> EngineLoop::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

absl::Status EngineLoop::Run(const std::function<void()>& tick) {
  std::vector<Command> commands;
  for (;;) {
    tick();
    bool too_late = false;
    {
      std::unique_lock lock(mutex_);
      if (commands_.empty() && (stuck_ || !engine_.HasWork())) {
        if (draining_ && requests_.empty()) return absl::OkStatus();
        changed_.wait_for(lock, kTickEvery);
      }
      commands.swap(commands_);
      too_late = draining_ && clock_.Now() >= drain_end_;
    }
    for (Command& command : commands) Execute(std::move(command));
    commands.clear();
    if (too_late) CancelAll();
    stuck_ = false;
    if (engine_.HasWork()) {
      const int64_t steps = engine_.steps();
      if (const absl::Status status = engine_.Step(); !status.ok()) {
        {
          const std::lock_guard lock(mutex_);
          fault_ = status;
          commands.swap(commands_);
        }
        for (Command& command : commands) {
          if (command.listener != nullptr) command.listener->OnError(status);
        }
        return status;
      }
      stuck_ = engine_.steps() == steps;
    }
    ended_.clear();
    Publish();
  }
}

void EngineLoop::Execute(Command command) {
  if (command.arrival) {
    engine_.KvArrived(command.arrival->first, command.arrival->second);
    return;
  }
  if (command.listener == nullptr) {
    const auto it = requests_.find(command.ticket);
    if (it == requests_.end()) return;
    if (command.next_token) {
      engine_.Continue(it->second->id, *command.next_token);
    } else {
      engine_.Cancel(it->second->id);
    }
    return;
  }
  const auto listener = command.listener;
  if (!command.refusal.ok()) {
    listener->OnError(command.refusal);
    return;
  }
  auto forwarder =
      std::make_unique<Forwarder>(*this, command.ticket, command.request, std::move(command.listener));
  const absl::StatusOr<RequestId> id = engine_.Submit(std::move(command.request), forwarder.get());
  if (!id.ok()) {
    --open_;
    listener->OnError(id.status());
    return;
  }
  forwarder->id = *id;
  requests_.emplace(command.ticket, std::move(forwarder));
}

void EngineLoop::CancelAll() {
  std::vector<RequestId> ids;
  for (const auto& [ticket, forwarder] : requests_) ids.push_back(forwarder->id);
  for (const RequestId id : ids) engine_.Cancel(id);
}

void EngineLoop::Publish() {
  const Clock::Time now = clock_.Now();
  const bool idle = !engine_.HasWork();
  const bool changed = engine_.steps() != published_steps_ || (idle && published_steps_ >= 0);
  if (!changed || (!idle && now - published_ < kPublishEvery)) return;
  auto snapshot = std::make_shared<const EngineSnapshot>(engine_.Snapshot());
  published_ = now;
  published_steps_ = idle ? -1 : engine_.steps();
  const std::lock_guard lock(mutex_);
  snapshot_ = std::move(snapshot);
}

}  // namespace longspan
