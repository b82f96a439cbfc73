#include "runtime/coordinator/group_server.h"

#include <atomic>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "runtime/coordinator/control_messages.h"

namespace longspan {
namespace {

// Heartbeats come that many times within the timeout.
constexpr int kBeatsWithinTimeout = 6;

}  // namespace

class GroupServer::Member final : public FromGroupHandler,
                                  public GroupLink,
                                  public std::enable_shared_from_this<Member> {
 public:
  Member(GroupServer& server, std::shared_ptr<ToGroupStream> stream)
      : server_(server), stream_(std::move(stream)), heard_(server.clock_.Now()), stepped_(heard_) {}

  // GroupLink.
  void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) override {
    {
      const std::lock_guard lock(mutex_);
      if (listeners_.empty()) stepped_ = server_.clock_.Now();
      listeners_.emplace(run, std::move(listener));
    }
    control::ToGroup message;
    *message.mutable_start() = ToMessage(run, request);
    stream_->Send(std::move(message));
  }
  void Continue(RunId run, int32_t token) override {
    control::ToGroup message;
    message.mutable_continue_()->set_run(run);
    message.mutable_continue_()->set_token(token);
    stream_->Send(std::move(message));
  }
  void Cancel(RunId run) override {
    {
      const std::lock_guard lock(mutex_);
      listeners_.erase(run);
    }
    control::ToGroup message;
    message.mutable_cancel()->set_run(run);
    stream_->Send(std::move(message));
  }

  // FromGroupHandler.
  void OnMessage(control::FromGroup message) override {
    {
      const std::lock_guard lock(mutex_);
      heard_ = server_.clock_.Now();
    }
    if (const absl::Status status = Take(message); !status.ok()) {
      spdlog::warn("group {} at {} is sent away: {}", name_, stream_->peer(), std::string(status.message()));
      Leave(status);
      stream_->Close(status);
    }
  }
  void OnClose(const absl::Status& why) override {
    Leave(why.ok() ? absl::UnavailableError("the connection is broken") : why);
  }

  // Called some times within the heartbeat's timeout.
  void Look(Clock::Time now) {
    if (const absl::Status status = Judge(now); !status.ok()) {
      Leave(status);
      stream_->Close(status);
      return;
    }
    control::ToGroup message;
    message.mutable_heartbeat();
    stream_->Send(std::move(message));
  }

 private:
  absl::Status Take(control::FromGroup& message) {
    if (message.has_register_()) return Register(message.register_());
    if (group_ == 0) return absl::FailedPreconditionError("it has not registered");
    switch (message.message_case()) {
      case control::FromGroup::kStatus: {
        LONGSPAN_ASSIGN_OR_RETURN(GroupStatus status, FromMessage(message.status(), kvp_));
        TakeStatus(std::move(status));
        break;
      }
      case control::FromGroup::kToken:
        TakeToken(message.token());
        break;
      case control::FromGroup::kPromptLogprobs:
        if (const auto listener = ListenerOf(message.prompt_logprobs().run())) {
          listener->OnPromptLogprobs(FromMessage(message.prompt_logprobs().logprobs()));
        }
        break;
      case control::FromGroup::kReadyForKv:
        if (const auto listener = ListenerOf(message.ready_for_kv().run())) listener->OnReadyForKv();
        break;
      case control::FromGroup::kKvArrived:
        if (const auto listener = ListenerOf(message.kv_arrived().run())) {
          listener->OnKvArrived(FromMessage(message.kv_arrived()));
        }
        break;
      case control::FromGroup::kEnd:
        if (const auto listener = TakeListener(message.end().run())) TellEnd(message.end(), *listener);
        break;
      case control::FromGroup::kDrain:
        spdlog::info("group {} ({}) drains: it gets no new requests", group_, name_);
        server_.coordinator_.DrainGroup(group_);
        SendDrained();
        break;
      case control::FromGroup::kLeave:
        Leave(absl::OkStatus());
        break;
      default:
        break;  // of a later build
    }
    return absl::OkStatus();
  }

  void SendDrained() {
    control::ToGroup message;
    message.mutable_drained();
    stream_->Send(std::move(message));
  }

  absl::Status Register(const control::Register& message) {
    if (group_ != 0) return absl::FailedPreconditionError("it has registered twice");
    name_ = message.name();
    LONGSPAN_ASSIGN_OR_RETURN(GroupDescription description, FromMessage(message));
    kvp_ = description.geometry.kvp;
    const auto joined = server_.coordinator_.AddGroup(description, [this](GroupId group) {
      group_ = group;
      control::ToGroup reply;
      reply.mutable_registered()->set_group(group);
      reply.mutable_registered()->set_heartbeat_ms(
          std::chrono::duration_cast<std::chrono::milliseconds>(server_.BeatInterval()).count());
      stream_->Send(std::move(reply));
      return shared_from_this();
    });
    LONGSPAN_RETURN_IF_ERROR(joined.status());
    spdlog::info("group {} joins: {} at {}, {}, tp {} x kvp {}, build {}", *joined, name_, stream_->peer(),
                 Name(description.role), description.tp, kvp_, description.build);
    // It may have been given up meanwhile.
    const std::lock_guard lock(mutex_);
    return left_ ? absl::UnavailableError("it registers late") : absl::OkStatus();
  }

  void TakeStatus(GroupStatus status) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(steps_, status.engine.steps) != status.engine.steps) stepped_ = server_.clock_.Now();
    }
    server_.coordinator_.SetStatus(group_, std::move(status));
  }

  void TakeToken(const control::Token& message) {
    const std::shared_ptr<ResponseListener> listener = ListenerOf(message.run());
    if (listener == nullptr || listener->OnToken(FromMessage(message))) return;
    Cancel(message.run());
    listener->OnFinish(FinishReason::kStop);
  }

  absl::Status Judge(Clock::Time now) {
    const std::lock_guard lock(mutex_);
    const GroupServerOptions& options = server_.options_;
    if (now - heard_ > options.heartbeat_timeout) {
      return absl::UnavailableError(
          absl::StrFormat("it has said nothing for %.1f s", ToSeconds(now - heard_)));
    }
    if (!listeners_.empty() && now - stepped_ > options.stall_timeout) {
      return absl::UnavailableError(
          absl::StrFormat("it has work and has made no step for %.1f s", ToSeconds(now - stepped_)));
    }
    return absl::OkStatus();
  }

  // The coordinator hears nothing more of it after this.
  void Leave(const absl::Status& why) {
    {
      const std::lock_guard lock(mutex_);
      left_ = true;
      listeners_.clear();
    }
    if (group_ != 0) server_.coordinator_.RemoveGroup(group_, why);  // once
  }

  std::shared_ptr<ResponseListener> ListenerOf(RunId run) {
    const std::lock_guard lock(mutex_);
    const auto it = listeners_.find(run);
    return it == listeners_.end() ? nullptr : it->second;
  }
  std::shared_ptr<ResponseListener> TakeListener(RunId run) {
    const std::lock_guard lock(mutex_);
    const auto node = listeners_.extract(run);
    return node.empty() ? nullptr : std::move(node.mapped());
  }

  GroupServer& server_;
  const std::shared_ptr<ToGroupStream> stream_;
  // Of the stream's thread, once it has registered.
  std::string name_ = "without a name";
  std::atomic<GroupId> group_ = 0;
  int kvp_ = 0;

  std::mutex mutex_;  // of the following
  std::map<RunId, std::shared_ptr<ResponseListener>> listeners_;
  Clock::Time heard_, stepped_;
  int64_t steps_ = -1;
  bool left_ = false;
};

GroupServer::GroupServer(GroupServerOptions options, Coordinator& coordinator, const Clock& clock)
    : options_(std::move(options)), coordinator_(coordinator), clock_(clock) {}

GroupServer::~GroupServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (timer_.joinable()) timer_.join();
  control_.reset();
}

absl::StatusOr<std::unique_ptr<GroupServer>> GroupServer::Listen(GroupServerOptions options,
                                                                 Coordinator& coordinator,
                                                                 const Clock& clock) {
  std::unique_ptr<GroupServer> server(new GroupServer(std::move(options), coordinator, clock));
  LONGSPAN_ASSIGN_OR_RETURN(
      server->control_, ListenForGroups(server->options_.address, server->options_.tls,
                                        [&server = *server](std::shared_ptr<ToGroupStream> stream) {
                                          auto member = std::make_shared<Member>(server, std::move(stream));
                                          const std::lock_guard lock(server.mutex_);
                                          std::erase_if(server.members_,
                                                        [](const auto& weak) { return weak.expired(); });
                                          server.members_.push_back(member);
                                          return member;
                                        }));
  server->timer_ = std::thread([&server = *server] { server.RunTimer(); });
  return server;
}

Clock::Duration GroupServer::BeatInterval() const { return options_.heartbeat_timeout / kBeatsWithinTimeout; }

void GroupServer::RunTimer() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    changed_.wait_for(lock, BeatInterval());
    std::vector<std::shared_ptr<Member>> members;
    for (const auto& weak : members_) {
      if (auto member = weak.lock()) members.push_back(std::move(member));
    }
    lock.unlock();
    for (const auto& member : members) member->Look(clock_.Now());
    members.clear();
    lock.lock();
  }
}

}  // namespace longspan
