#include "runtime/coordinator/local_group.h"

#include <utility>

namespace longspan {

// Forgets the run at its end.
class LocalGroup::Listener final : public ResponseListener {
 public:
  Listener(LocalGroup& group, RunId run, std::shared_ptr<ResponseListener> listener)
      : group_(group), run_(run), listener_(std::move(listener)) {}

  void OnStart() override { listener_->OnStart(); }
  void OnPromptLogprobs(PositionLogprobs logprobs) override {
    listener_->OnPromptLogprobs(std::move(logprobs));
  }
  bool OnToken(const GeneratedToken& token) override { return listener_->OnToken(token); }
  void OnReadyForKv() override { listener_->OnReadyForKv(); }
  void OnKvArrived(const KvArrival& arrival) override { listener_->OnKvArrived(arrival); }
  void OnFinish(FinishReason reason) override {
    Forget();
    listener_->OnFinish(reason);
  }
  void OnError(const absl::Status& error) override {
    Forget();
    listener_->OnError(error);
  }

 private:
  void Forget() {
    const std::lock_guard lock(group_.mutex_);
    group_.tickets_.erase(run_);
  }

  LocalGroup& group_;
  const RunId run_;
  const std::shared_ptr<ResponseListener> listener_;
};

void LocalGroup::Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) {
  request.label = run;
  absl::Status refusal;
  if (!request.grammar.empty()) {
    absl::StatusOr<std::unique_ptr<TokenConstraint>> constraint = make_constraint_(request.grammar);
    if (constraint.ok()) {
      request.constraint = *std::move(constraint);
    } else {
      refusal = constraint.status();
    }
  }
  if (refusal.ok()) {
    // Held while the run is taken in, so that it cannot end before it is known.
    const std::lock_guard lock(mutex_);
    const absl::StatusOr<EngineLoop::Ticket> ticket =
        loop_.Submit(std::move(request), std::make_shared<Listener>(*this, run, listener));
    if (ticket.ok()) {
      tickets_[run] = *ticket;
      return;
    }
    refusal = ticket.status();
  }
  loop_.Refuse(std::move(listener), std::move(refusal));
}

void LocalGroup::Continue(RunId run, int32_t token) {
  const std::lock_guard lock(mutex_);
  const auto it = tickets_.find(run);
  if (it != tickets_.end()) loop_.Continue(it->second, token);
}

void LocalGroup::Cancel(RunId run) {
  const std::lock_guard lock(mutex_);
  const auto it = tickets_.find(run);
  if (it != tickets_.end()) loop_.Cancel(it->second);
}

}  // namespace longspan
