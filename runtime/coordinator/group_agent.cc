#include "runtime/coordinator/group_agent.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_format.h"
#include "runtime/coordinator/control_messages.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerWithin{5000};  // of the registration
constexpr milliseconds kFirstPause{100}, kLongestPause{2000};
constexpr milliseconds kLeaveWithin{1000};
constexpr int kBeatsOfSilence = 6;

bool IsFinal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnauthenticated(status);
}

}  // namespace

class GroupAgent::Membership final : public ToGroupHandler, public std::enable_shared_from_this<Membership> {
 public:
  Membership(GroupLink& engine, const Clock& clock) : engine_(engine), clock_(clock), heard_(clock.Now()) {}

  // First of all.
  void Begin(const GroupAgentOptions& options) {
    const std::lock_guard lock(mutex_);
    stream_ = JoinCoordinator(options.coordinator, options.tls, shared_from_this());
    control::FromGroup message;
    *message.mutable_register_() = ToMessage(options.description);
    stream_->Send(std::move(message));
  }

  void OnMessage(control::ToGroup message) override {
    std::unique_lock lock(mutex_);
    if (closed_) return;
    heard_ = clock_.Now();
    switch (message.message_case()) {
      case control::ToGroup::kRegistered:
        beat_ = milliseconds(std::clamp<int64_t>(message.registered().heartbeat_ms(), 10, 60000));
        registered_ = true;
        spdlog::info("joined as group {}", message.registered().group());
        changed_.notify_all();
        break;
      case control::ToGroup::kDrained:
        drained_ = true;
        break;
      case control::ToGroup::kStart: {
        const RunId run = message.start().run();
        runs_.insert(run);
        lock.unlock();
        engine_.Start(run, FromMessage(message.start()), std::make_shared<Listener>(shared_from_this(), run));
        break;
      }
      case control::ToGroup::kContinue:
        lock.unlock();
        engine_.Continue(message.continue_().run(), message.continue_().token());
        break;
      case control::ToGroup::kCancel:
        runs_.erase(message.cancel().run());
        lock.unlock();
        engine_.Cancel(message.cancel().run());
        break;
      default:
        break;
    }
  }

  void OnClose(const absl::Status& why) override {
    std::set<RunId> runs;
    {
      const std::lock_guard lock(mutex_);
      runs.swap(runs_);
    }
    // Nobody waits for them any more.
    for (const RunId run : runs) engine_.Cancel(run);
    // From here on the engine may be gone.
    const std::lock_guard lock(mutex_);
    closed_ = true;
    why_ = why;
    changed_.notify_all();
  }

  // Tells how the group fares until the stream is closed, and returns why.
  absl::Status Stay(const std::function<GroupStatus()>& status) {
    std::unique_lock lock(mutex_);
    while (!closed_) {
      changed_.wait_for(lock, registered_ ? beat_ : Clock::Duration(kFirstPause));
      if (closed_) break;
      const Clock::Duration patience = registered_ ? kBeatsOfSilence * beat_ : Clock::Duration(kAnswerWithin);
      if (clock_.Now() - heard_ > patience) {
        stream_->Close(absl::UnavailableError(absl::StrFormat("the coordinator has said nothing for %.1f s",
                                                              ToSeconds(clock_.Now() - heard_))));
      } else if (registered_) {
        lock.unlock();
        control::FromGroup message;
        *message.mutable_status() = ToMessage(status());
        Send(std::move(message));
        lock.lock();
      }
    }
    return why_;
  }

  void Send(control::FromGroup message) {
    const std::lock_guard lock(mutex_);
    stream_->Send(std::move(message));
  }
  void Break() {
    const std::lock_guard lock(mutex_);
    stream_->Close(absl::InternalError("the group has failed"));
  }
  void Leave(const absl::Status& why) {
    std::unique_lock lock(mutex_);
    if (closed_) return;
    if (why.ok()) {
      control::FromGroup message;
      message.mutable_leave();
      stream_->Send(std::move(message));
    }
    stream_->Close(why);
    changed_.wait_for(lock, kLeaveWithin, [this] { return closed_; });
    if (!closed_) stream_->Close(absl::CancelledError("the group ends"));
  }
  int64_t open() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(runs_.size());
  }
  bool drained() const {
    const std::lock_guard lock(mutex_);
    return drained_ || !registered_;
  }
  bool registered() const {
    const std::lock_guard lock(mutex_);
    return registered_;
  }

 private:
  // Passes on what the engine says of one run.
  class Listener final : public ResponseListener {
   public:
    Listener(std::shared_ptr<Membership> membership, RunId run)
        : membership_(std::move(membership)), run_(run) {}

    void OnPromptLogprobs(PositionLogprobs logprobs) override {
      control::FromGroup message;
      message.mutable_prompt_logprobs()->set_run(run_);
      *message.mutable_prompt_logprobs()->mutable_logprobs() = ToMessage(logprobs);
      membership_->Send(std::move(message));
    }
    bool OnToken(const GeneratedToken& token) override {
      control::FromGroup message;
      *message.mutable_token() = ToMessage(run_, token);
      membership_->Send(std::move(message));
      return true;
    }
    void OnReadyForKv() override {
      control::FromGroup message;
      message.mutable_ready_for_kv()->set_run(run_);
      membership_->Send(std::move(message));
    }
    void OnKvArrived(const KvArrival& arrival) override {
      control::FromGroup message;
      *message.mutable_kv_arrived() = ToMessage(run_, arrival);
      membership_->Send(std::move(message));
    }
    void OnFinish(FinishReason reason) override {
      // The group is unusable: its requests go on elsewhere.
      if (reason == FinishReason::kError) return membership_->Break();
      End(EndMessage(run_, reason));
    }
    void OnError(const absl::Status& error) override { End(EndMessage(run_, error)); }

   private:
    void End(control::End end) {
      control::FromGroup message;
      *message.mutable_end() = std::move(end);
      membership_->Send(std::move(message));
      const std::lock_guard lock(membership_->mutex_);
      membership_->runs_.erase(run_);
    }

    const std::shared_ptr<Membership> membership_;
    const RunId run_;
  };

  GroupLink& engine_;
  const Clock& clock_;

  mutable std::mutex mutex_;  // of the following
  std::condition_variable changed_;
  std::shared_ptr<FromGroupStream> stream_;
  std::set<RunId> runs_;
  Clock::Time heard_;
  Clock::Duration beat_{};
  bool registered_ = false, drained_ = false, closed_ = false;
  absl::Status why_;
};

GroupAgent::GroupAgent(GroupAgentOptions options, GroupLink& engine, std::function<GroupStatus()> status,
                       const Clock& clock)
    : options_(std::move(options)),
      engine_(engine),
      status_(std::move(status)),
      clock_(clock),
      thread_([this] { Run(); }) {}

GroupAgent::~GroupAgent() {
  Leave(absl::CancelledError("the group ends"));
  thread_.join();
}

void GroupAgent::Leave(const absl::Status& why) {
  std::shared_ptr<Membership> membership;
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
    membership = membership_;
  }
  changed_.notify_all();
  if (membership != nullptr) membership->Leave(why);
}

void GroupAgent::Run() {
  Clock::Duration pause = kFirstPause;
  absl::Status told;  // of failures, the last one that was logged
  std::unique_lock lock(mutex_);
  while (!leaving_) {
    const auto membership = membership_ = std::make_shared<Membership>(engine_, clock_);
    membership->Begin(options_);
    if (draining_) TellDrain(*membership);
    lock.unlock();
    const absl::Status why = membership->Stay(status_);
    lock.lock();
    membership_.reset();
    if (leaving_) break;
    if (IsFinal(why)) {
      refusal_ = why;
      break;
    }
    if (membership->registered()) pause = kFirstPause;
    if (why != told) {
      spdlog::warn("no coordinator at {}, trying again: {}", options_.coordinator,
                   std::string(why.message()));
      told = membership->registered() ? absl::OkStatus() : why;
    }
    changed_.wait_for(lock, pause, [this] { return leaving_; });
    pause = std::min<Clock::Duration>(2 * pause, kLongestPause);
  }
}

void GroupAgent::TellDrain(Membership& membership) {
  control::FromGroup message;
  message.mutable_drain();
  membership.Send(std::move(message));
}

void GroupAgent::Drain() {
  std::shared_ptr<Membership> membership;
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    membership = membership_;
  }
  if (membership != nullptr) TellDrain(*membership);
}

absl::Status GroupAgent::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

bool GroupAgent::drained() const {
  const std::lock_guard lock(mutex_);
  return membership_ == nullptr || membership_->drained();
}

int64_t GroupAgent::open() const {
  const std::lock_guard lock(mutex_);
  return membership_ == nullptr ? 0 : membership_->open();
}

}  // namespace longspan
