#include "runtime/coordinator/coordinator.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/engine/sampler.h"

namespace longspan {
namespace {

constexpr std::chrono::milliseconds kTimerEvery{100};
constexpr size_t kTimelines = 4096;

// The token is unlike any other; the epoch is that of the group that receives.
HandoffId NewHandoff(GroupId group) {
  std::random_device random;
  HandoffId handoff;
  for (size_t i = 0; i < handoff.token.size(); i += sizeof(uint32_t)) {
    const uint32_t bits = random();
    std::memcpy(handoff.token.data() + i, &bits, sizeof bits);
  }
  handoff.epoch = static_cast<uint64_t>(group);
  return handoff;
}

// That end of a handoff, as the other one needs to know it.
KvPeer PeerOf(const HandoffId& handoff, const GroupDescription& group, int shift) {
  return {handoff, {group.tp, group.geometry.kvp}, shift, group.transport_addresses};
}

}  // namespace

// Its mutex orders what the listener hears, whatever groups say at the same time; it is taken after the
// coordinator's, never before.
class Coordinator::Flow {
 public:
  Flow(TicketId ticket, Request request, std::shared_ptr<ResponseListener> listener,
       std::shared_ptr<Timeline> timeline)
      : ticket_(ticket),
        request_(std::move(request)),
        listener_(std::move(listener)),
        timeline_(std::move(timeline)) {
    timeline_->Begin("queued", 0);
  }

  TicketId ticket() const { return ticket_; }
  Timeline& timeline() const { return *timeline_; }

  // What a group is to do for it now. From here on it listens to `run` alone; null: to nobody.
  Request Go(const Run* run, GroupId group) {
    const std::lock_guard lock(mutex_);
    timeline_->End("queued");
    group_ = group;
    awaits_token_ = true;
    run_ = run;
    other_ = nullptr;
    if (!std::exchange(started_, true)) listener_->OnStart();
    Request request = Copy(request_);
    request.generated = generated_;
    request.first_logits = generated_.empty() ? prompt_logprobs_ : FirstLogits();
    return request;
  }
  void Halt() {
    const std::lock_guard lock(mutex_);
    run_ = other_ = nullptr;
    timeline_->EndAll();
  }
  // From here on it listens to `run`, and minds how `other` ends.
  void ListenTo(const Run* run, const Run* other) {
    const std::lock_guard lock(mutex_);
    run_ = run;
    other_ = other;
  }
  bool IsHeard(const Run* run) const {
    const std::lock_guard lock(mutex_);
    return run == run_ || run == other_;
  }
  bool ListensTo(const Run* run) const {
    const std::lock_guard lock(mutex_);
    return run == run_;
  }
  // KV that the group it has listened to must hold by now: of the last token there is none yet.
  int64_t computed_tokens() const {
    const std::lock_guard lock(mutex_);
    return generated_.empty() ? 0 : FirstLogits();
  }
  int64_t output_tokens() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(generated_.size());
  }

  void OnPromptLogprobs(const Run* run, PositionLogprobs logprobs) {
    const std::lock_guard lock(mutex_);
    if (run != run_) return;
    ++prompt_logprobs_;
    listener_->OnPromptLogprobs(std::move(logprobs));
  }
  bool OnToken(const Run* run, const GeneratedToken& token) {
    const std::lock_guard lock(mutex_);
    if (run != run_) return false;
    generated_.push_back(token.id);
    if (std::exchange(awaits_token_, false)) {
      timeline_->End("prefill");
      if (other_ == nullptr) timeline_->Begin("decode", group_);
    }
    stopped_ = !listener_->OnToken(token);
    return !stopped_;
  }
  // What it has come to by its tokens, should its group have had no time to say so.
  std::optional<FinishReason> Outcome(std::span<const int32_t> eos_token_ids) const {
    const std::lock_guard lock(mutex_);
    if (stopped_) return FinishReason::kStop;
    if (generated_.empty()) return std::nullopt;
    const bool eos_ends = !request_.ignore_eos || !request_.grammar.empty();
    const bool is_eos =
        std::find(eos_token_ids.begin(), eos_token_ids.end(), generated_.back()) != eos_token_ids.end();
    if (is_eos && eos_ends) return FinishReason::kStop;
    if (static_cast<int64_t>(generated_.size()) >= *request_.max_tokens) return FinishReason::kLength;
    return std::nullopt;
  }
  // Whether it minds `run`, which has ended: it listens to nobody any more.
  bool Leave(const Run* run) {
    const std::lock_guard lock(mutex_);
    if (run != run_ && run != other_) return false;
    run_ = other_ = nullptr;
    timeline_->EndAll();
    return true;
  }
  void Finish(FinishReason reason) {
    const std::lock_guard lock(mutex_);
    run_ = other_ = nullptr;
    timeline_->EndAll();
    if (!std::exchange(ended_, true)) listener_->OnFinish(reason);
  }
  void End(const absl::Status& error) {
    const std::lock_guard lock(mutex_);
    run_ = other_ = nullptr;
    timeline_->EndAll();
    if (!std::exchange(ended_, true)) listener_->OnError(error);
  }

 private:
  int64_t FirstLogits() const { return static_cast<int64_t>(request_.prompt.size() + generated_.size()) - 1; }

  const TicketId ticket_;
  const Request request_;
  const std::shared_ptr<ResponseListener> listener_;
  const std::shared_ptr<Timeline> timeline_;

  mutable std::mutex mutex_;  // of the following
  GroupId group_ = 0;         // that it runs on
  bool awaits_token_ = false;
  const Run *run_ = nullptr, *other_ = nullptr;
  std::vector<int32_t> generated_;
  int64_t prompt_logprobs_ = 0;
  bool started_ = false, stopped_ = false, ended_ = false;
};

class Coordinator::Run final : public ResponseListener {
 public:
  Run(Coordinator& coordinator, std::shared_ptr<Flow> flow, GroupId group)
      : coordinator_(coordinator), flow_(std::move(flow)), group_(group) {}

  Flow& flow() const { return *flow_; }
  GroupId group() const { return group_; }

  void OnPromptLogprobs(PositionLogprobs logprobs) override {
    flow_->OnPromptLogprobs(this, std::move(logprobs));
  }
  bool OnToken(const GeneratedToken& token) override {
    const bool goes_on = flow_->OnToken(this, token);
    if (goes_on) coordinator_.OnPrefilled(*this, token.id);
    return goes_on;
  }
  void OnReadyForKv() override { coordinator_.OnReadyForKv(*this); }
  void OnKvArrived(const KvArrival& arrival) override { coordinator_.OnKvArrived(*this, arrival); }
  void OnFinish(FinishReason reason) override { coordinator_.OnRunEnd(*this, reason, absl::OkStatus()); }
  void OnError(const absl::Status& error) override { coordinator_.OnRunEnd(*this, std::nullopt, error); }

  // Of a handoff, set before the run starts: the run of the prompt knows the one that follows, and that one
  // has the prompt's, and what it is to do, until it starts. With the coordinator's mutex held.
  std::weak_ptr<const Run> successor;
  std::shared_ptr<Run> prompt;
  Request prompt_request;

 private:
  Coordinator& coordinator_;
  const std::shared_ptr<Flow> flow_;
  const GroupId group_;
};

Coordinator::Coordinator(CoordinatorOptions options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      dispatcher_(options_.dispatcher, clock, options_.decision_log),
      identity_(options_.identity),
      timer_([this] { RunTimer(); }) {}

Coordinator::~Coordinator() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  timer_.join();
}

RequestLimits Coordinator::limits() const {
  RequestLimits limits = options_.limits;
  const std::lock_guard lock(mutex_);
  limits.store_tokens = dispatcher_->LargestContext();
  return limits;
}

absl::Status Coordinator::Admits() const {
  const std::lock_guard lock(mutex_);
  return AdmitsLocked();
}

absl::Status Coordinator::AdmitsLocked() const {
  if (!failure_.ok()) return failure_;
  if (draining_) return absl::UnavailableError("the server is shutting down");
  return dispatcher_->Admits();
}

absl::StatusOr<TicketId> Coordinator::Submit(Request request, std::shared_ptr<ResponseListener> listener) {
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t max_tokens, CheckRequest(request, limits()));
  request.max_tokens = max_tokens;
  Demand demand;
  demand.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  demand.max_tokens = max_tokens;
  demand.prompt_logits = request.prompt_logits;
  demand.priority = request.priority;
  demand.deadline = request.deadline;

  std::vector<FlowEnd> ends;
  TicketId ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    LONGSPAN_RETURN_IF_ERROR(AdmitsLocked());
    LONGSPAN_ASSIGN_OR_RETURN(ticket, dispatcher_.Submit(demand));
    // Wherever it runs, and however often.
    if (!request.sampling.seed) request.sampling.seed = DeriveSeed(options_.seed, ticket);
    const auto timeline = std::make_shared<Timeline>(clock_);
    timelines_.emplace(ticket, timeline);
    if (timelines_.size() > kTimelines) timelines_.erase(timelines_.begin());
    flows_.emplace(ticket, std::make_shared<Flow>(ticket, std::move(request), std::move(listener), timeline));
    Decide(&ends);
  }
  Call(ends);
  return ticket;
}

void Coordinator::Cancel(TicketId ticket) {
  std::vector<FlowEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    CancelLocked(ticket, &ends);
    Decide(&ends);
  }
  Call(ends);
}

void Coordinator::CancelLocked(TicketId ticket, std::vector<FlowEnd>* ends) {
  dispatcher_.End(ticket, std::nullopt);
  const std::shared_ptr<Flow> flow = TakeFlow(ticket);
  if (flow != nullptr) ends->push_back([flow] { flow->Finish(FinishReason::kCancelled); });
}

std::shared_ptr<Coordinator::Flow> Coordinator::TakeFlow(TicketId ticket) {
  const auto it = flows_.find(ticket);
  if (it == flows_.end()) return nullptr;
  HaltRun(ticket);
  std::shared_ptr<Flow> flow = std::move(it->second);
  flows_.erase(it);
  return flow;
}

void Coordinator::HaltRun(TicketId ticket) {
  if (!places_.contains(ticket)) return;
  flows_.at(ticket)->Halt();
  ForgetRun(ticket, /*group=*/0);
}

void Coordinator::CancelRun(RunPlace& place) {
  if (place.run == 0) return;
  Group& group = groups_.at(place.group);
  group.link->Cancel(place.run);
  group.runs.erase(place.run);
  place = {};
}

int64_t Coordinator::ComputedTokens(TicketId ticket) const {
  const Places& places = places_.at(ticket);
  const RunPlace& place = places.prefill.run != 0 && !places.kv_arrived ? places.prefill : places.main;
  int64_t tokens = flows_.at(ticket)->computed_tokens();
  const GroupStatus* told = groups_.at(place.group).told.get();
  if (told == nullptr) return tokens;
  for (const SequenceSnapshot& sequence : told->engine.sequences) {
    if (sequence.id == place.run) tokens = std::max(tokens, sequence.computed_tokens);
  }
  return tokens;
}

void Coordinator::ForgetRun(TicketId ticket, GroupId group) {
  const auto it = places_.find(ticket);
  for (RunPlace* place : {&it->second.main, &it->second.prefill}) {
    if (place->run == 0) continue;
    if (place->group == group) {
      groups_.at(group).runs.erase(place->run);
    } else {
      CancelRun(*place);
    }
  }
  places_.erase(it);
}

void Coordinator::ReleasePrefill(TicketId ticket) {
  CancelRun(places_.at(ticket).prefill);
  dispatcher_.Prefilled(ticket);
}

Coordinator::RunPlace Coordinator::NewRun(GroupId group, TicketId ticket) {
  const RunId run = next_run_++;
  groups_.at(group).runs.emplace(run, ticket);
  return {group, run};
}

bool Coordinator::EndIfDone(TicketId ticket, std::vector<FlowEnd>* ends) {
  const std::shared_ptr<Flow>& flow = flows_.at(ticket);
  const std::optional<FinishReason> outcome = flow->Outcome(options_.eos_token_ids);
  if (!outcome) return false;
  dispatcher_.End(ticket, flow->output_tokens());
  ends->push_back([flow = TakeFlow(ticket), reason = *outcome] { flow->Finish(reason); });
  return true;
}

void Coordinator::StartRun(const Decision& decision) {
  Group& group = groups_.at(decision.group);
  const std::shared_ptr<Flow>& flow = flows_.at(decision.ticket);
  Places& places = places_[decision.ticket];
  places.main = NewRun(decision.group, decision.ticket);
  const auto run = std::make_shared<Run>(*this, flow, decision.group);
  Request request = flow->Go(run.get(), decision.group);
  request.shift = decision.shift;
  if (decision.prefill_group != 0) {
    places.prefill = NewRun(decision.prefill_group, decision.ticket);
    run->prompt = std::make_shared<Run>(*this, flow, decision.prefill_group);
    run->prompt->successor = run;
    Request& prompt = run->prompt_request = Copy(request);
    prompt.shift = decision.prefill_shift;
    const HandoffId handoff = NewHandoff(decision.group);
    const GroupDescription& source = groups_.at(decision.prefill_group).description;
    request.receives_from = PeerOf(handoff, source, decision.prefill_shift);
    prompt.sends_to = PeerOf(handoff, group.description, decision.shift);
    flow->ListenTo(run->prompt.get(), run.get());
  } else {
    flow->timeline().Begin("prefill", decision.group);
  }
  group.link->Start(places.main.run, std::move(request), run);
}

void Coordinator::OnReadyForKv(Run& run) {
  const std::lock_guard lock(mutex_);
  if (run.prompt == nullptr || !run.flow().IsHeard(&run)) return;
  const Places& places = places_.at(run.flow().ticket());
  const RunPlace& place = places.prefill;
  run.flow().timeline().Begin("prefill", place.group);
  run.flow().timeline().Begin("transfer", places.main.group);
  groups_.at(place.group)
      .link->Start(place.run, std::move(run.prompt_request), std::exchange(run.prompt, nullptr));
}

void Coordinator::OnPrefilled(const Run& run, int32_t token) {
  const std::shared_ptr<const Run> successor = run.successor.lock();
  if (successor == nullptr) return;
  std::vector<FlowEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    Flow& flow = run.flow();
    // What ends with its first token ends there.
    if (!flow.ListensTo(&run) || flow.Outcome(options_.eos_token_ids)) return;
    const Places& places = places_.at(flow.ticket());
    flow.ListenTo(successor.get(), places.kv_arrived ? nullptr : &run);
    groups_.at(places.main.group).link->Continue(places.main.run, token);
    if (!places.kv_arrived) return;
    ReleasePrefill(flow.ticket());
    Decide(&ends);
  }
  Call(ends);
}

void Coordinator::OnKvArrived(const Run& run, const KvArrival& arrival) {
  std::vector<FlowEnd> ends;
  std::function<void(const KvArrival& arrival)> observer;
  {
    const std::lock_guard lock(mutex_);
    Flow& flow = run.flow();
    if (!flow.IsHeard(&run)) return;
    observer = handoff_observer_;
    Places& places = places_.at(flow.ticket());
    places.kv_arrived = true;
    flow.timeline().End("transfer");
    flow.timeline().Begin("decode", places.main.group);
    // Else its first token is on its way.
    if (flow.ListensTo(&run)) {
      flow.ListenTo(&run, nullptr);
      ReleasePrefill(flow.ticket());
      Decide(&ends);
    }
  }
  if (observer) observer(arrival);
  Call(ends);
}

void Coordinator::ObserveHandoffs(std::function<void(const KvArrival& arrival)> observer) {
  const std::lock_guard lock(mutex_);
  handoff_observer_ = std::move(observer);
}

void Coordinator::Call(const std::vector<FlowEnd>& ends) {
  for (const FlowEnd& end : ends) end();
}

void Coordinator::Decide(std::vector<FlowEnd>* ends) {
  for (const Decision& decision : dispatcher_.Decide()) {
    spdlog::debug("request {}: {} group {}, shift {}: {}", decision.ticket, Name(decision.kind),
                  decision.group, decision.shift, decision.reason);
    switch (decision.kind) {
      case Decision::Kind::kStart:
        if (!EndIfDone(decision.ticket, ends)) StartRun(decision);
        break;
      case Decision::Kind::kPreempt:
        ++past_.preemptions_total;
        past_.recomputed_after_preemption_total += ComputedTokens(decision.ticket);
        HaltRun(decision.ticket);
        flows_.at(decision.ticket)->timeline().Begin("queued", 0);
        break;
      case Decision::Kind::kExpire:
        ends->push_back([flow = TakeFlow(decision.ticket)] { flow->Finish(FinishReason::kDeadline); });
        break;
      case Decision::Kind::kFail:
        spdlog::error("request {} is given up: {}", decision.ticket, decision.reason);
        ends->push_back([flow = TakeFlow(decision.ticket), reason = decision.reason] {
          flow->End(absl::UnavailableError(reason));
        });
        break;
    }
  }
  changed_.notify_all();  // the timer has something else to wait for
}

void Coordinator::OnRunEnd(const Run& run, std::optional<FinishReason> reason, const absl::Status& error) {
  std::vector<FlowEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    Flow& flow = run.flow();
    if (!flow.Leave(&run)) return;
    const TicketId ticket = flow.ticket();
    ForgetRun(ticket, run.group());
    const bool is_own_end = reason == FinishReason::kStop || reason == FinishReason::kLength;
    const bool goes_on =
        reason == FinishReason::kCancelled || absl::IsResourceExhausted(error) || absl::IsUnavailable(error);
    if (goes_on) {
      spdlog::warn("group {} does not go on with request {}, which waits again: {}", run.group(), ticket,
                   reason ? "it has cancelled it" : std::string(error.message()));
      if (!EndIfDone(ticket, &ends)) {
        flow.timeline().Begin("queued", 0);
        dispatcher_.Refused(ticket);
      }
    } else {
      dispatcher_.End(ticket, is_own_end ? std::optional(flow.output_tokens()) : std::nullopt);
      ends.push_back([flow = std::move(flows_.extract(ticket).mapped()), reason, error] {
        reason ? flow->Finish(*reason) : flow->End(error);
      });
    }
    Decide(&ends);
  }
  Call(ends);
}

absl::StatusOr<GroupId> Coordinator::AddGroup(GroupDescription description, const MakeLink& make_link) {
  std::vector<FlowEnd> ends;
  GroupId id = 0;
  {
    const std::lock_guard lock(mutex_);
    // With the last group goes what groups have settled, unless somebody has tokens by it.
    GroupIdentity identity = groups_.empty() && flows_.empty() ? options_.identity : identity_;
    if (identity.protocol == 0) identity.protocol = description.identity.protocol;
    for (std::string GroupIdentity::*field :
         {&GroupIdentity::model, &GroupIdentity::tokenizer, &GroupIdentity::numerics}) {
      if (identity.*field == "") identity.*field = description.identity.*field;
    }
    LONGSPAN_RETURN_IF_ERROR(identity.CheckEqual(description.identity));
    identity_ = std::move(identity);
    if (const auto lost = lost_names_.find(description.name); lost != lost_names_.end()) {
      lost_names_.erase(lost);
      ++past_.group_restarts_total;
    }
    id = next_group_++;
    dispatcher_.AddGroup(id, description);
    groups_[id] = {std::move(description), make_link(id), nullptr, {}};
    Decide(&ends);
  }
  Call(ends);
  return id;
}

void Coordinator::SetStatus(GroupId id, GroupStatus status) {
  const auto told = std::make_shared<const GroupStatus>(std::move(status));
  std::vector<FlowEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    const auto it = groups_.find(id);
    if (it == groups_.end()) return;
    it->second.told = told;
    GroupLoad load{told->engine.prefill_tokens_per_s, told->engine.decode_step_s, {}};
    for (const SequenceSnapshot& sequence : told->engine.sequences) {
      const auto run = it->second.runs.find(sequence.id);
      if (run == it->second.runs.end()) continue;
      load.running.push_back({run->second, sequence.computed_tokens, sequence.output_tokens});
    }
    dispatcher_.SetLoad(id, load);
    Decide(&ends);
  }
  Call(ends);
}

void Coordinator::DrainGroup(GroupId id) {
  std::vector<FlowEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    if (!groups_.contains(id)) return;
    dispatcher_.DrainGroup(id);
    Decide(&ends);
  }
  Call(ends);
}

void Coordinator::RemoveGroup(GroupId id, const absl::Status& why) {
  std::vector<FlowEnd> ends;
  std::shared_ptr<GroupLink> link;  // ends without the mutex
  {
    const std::lock_guard lock(mutex_);
    const auto it = groups_.find(id);
    if (it == groups_.end()) return;
    std::erase_if(it->second.runs, [&](const auto& entry) {
      const TicketId ticket = entry.second;
      flows_.at(ticket)->Halt();
      const int64_t computed_tokens = ComputedTokens(ticket);
      Places& places = places_.at(ticket);
      for (RunPlace* place : {&places.main, &places.prefill}) {
        if (place->group != id) CancelRun(*place);
      }
      places_.erase(ticket);
      if (EndIfDone(ticket, &ends)) return true;
      if (why.ok()) dispatcher_.Refused(ticket);  // its going is nobody's fault
      flows_.at(ticket)->timeline().Begin("queued", 0);
      past_.recomputed_after_loss_total += computed_tokens;
      return false;
    });
    const std::string& name = it->second.description.name;
    const std::string moved = absl::StrCat(it->second.runs.size(), " requests, which go on elsewhere");
    if (why.ok()) {
      spdlog::info("group {} ({}) has left{}", id, name, it->second.runs.empty() ? "" : " with " + moved);
    } else {
      spdlog::warn("group {} ({}) is lost with {}: {}", id, name, moved, std::string(why.message()));
      ++past_.groups_lost_total;
      lost_names_.insert(name);
    }
    if (it->second.told != nullptr) {
      past_.totals += it->second.told->engine;
      past_.comm += it->second.told->comm;
    }
    dispatcher_.RemoveGroup(id);
    link = std::move(it->second.link);
    groups_.erase(it);
    Decide(&ends);
  }
  Call(ends);
}

void Coordinator::Drain(Clock::Duration timeout) {
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return;
    draining_ = true;
    drain_end_ = clock_.Now() + timeout;
  }
  changed_.notify_all();
}

void Coordinator::Fail(const absl::Status& reason) {
  std::vector<std::shared_ptr<Flow>> flows;
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return;
    failure_ = reason;
    while (!flows_.empty()) {
      const TicketId ticket = flows_.begin()->first;
      dispatcher_.End(ticket, std::nullopt);
      flows.push_back(TakeFlow(ticket));
    }
  }
  for (const auto& flow : flows) flow->End(reason);
}

int64_t Coordinator::open() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(flows_.size());
}

std::vector<TraceSpan> Coordinator::trace(TicketId ticket) const {
  const std::lock_guard lock(mutex_);
  const auto it = timelines_.find(ticket);
  return it == timelines_.end() ? std::vector<TraceSpan>() : it->second->spans();
}

GroupIdentity Coordinator::identity() const {
  const std::lock_guard lock(mutex_);
  return identity_;
}

KvRankSnapshot GroupView::KvOfRank(size_t rank) const {
  const size_t kvp_rank = rank % static_cast<size_t>(description.geometry.kvp);
  if (told != nullptr) return told->engine.ranks[kvp_rank];
  KvRankSnapshot kv;
  kv.capacity = description.geometry.pages_per_rank[kvp_rank];
  kv.map = {{.owner = 0, .pages = kv.capacity}};
  return kv;
}

ClusterView Coordinator::view() const {
  const std::lock_guard lock(mutex_);
  ClusterView view = past_;
  view.expected_wait_s = expected_wait_s_;
  view.waiting = dispatcher_->waiting();
  view.waiting_prompt_tokens = dispatcher_->waiting_prompt_tokens();
  for (const auto& [id, group] : groups_) {
    const GroupState& state = dispatcher_->group(id);
    GroupView& part = view.groups.emplace_back();
    part.id = id;
    part.description = group.description;
    part.draining = state.draining;
    part.running = state.running;
    part.told = group.told;
    if (group.told != nullptr) {
      view.totals += group.told->engine;
      view.comm += group.told->comm;
    }
    for (int k = 0; k < group.description.geometry.kvp; ++k) part.reserved.push_back(state.store.reserved(k));
  }
  return view;
}

// Deadlines, the end of draining, and what is looked at now and then.
void Coordinator::RunTimer() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    changed_.wait_for(lock, kTimerEvery);
    const Clock::Time now = clock_.Now();
    std::vector<FlowEnd> ends;
    if (draining_ && now >= drain_end_) {
      while (!flows_.empty()) CancelLocked(flows_.begin()->first, &ends);
    }
    if (now >= dispatcher_->next_event()) Decide(&ends);
    expected_wait_s_ = dispatcher_->ExpectedWait();
    lock.unlock();
    Call(ends);
    lock.lock();
  }
}

}  // namespace longspan
