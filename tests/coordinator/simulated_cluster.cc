#include "tests/coordinator/simulated_cluster.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gtest/gtest.h"
#include "kvstore/kv_geometry.h"

namespace longspan {
namespace {

constexpr double kTellEveryS = 1;

}  // namespace

double Random::Log(double least, double most) { return least * std::pow(most / least, Unit()); }
double Random::Gap(double per_s) { return -std::log(1 - Unit()) / per_s; }

SimulatedCluster::SimulatedCluster(DispatcherOptions options, unsigned seed)
    : random_(seed), dispatcher_(options, clock_, [this](std::string_view line) {
        log_ += line;
        log_ += '\n';
      }) {}

void SimulatedCluster::At(Clock::Time time, std::function<void()> event) {
  events_.emplace(std::max(time, now()), std::move(event));
}

void SimulatedCluster::Run(Clock::Time until) {
  while (true) {
    Clock::Time next = dispatcher_->next_event();
    if (!events_.empty()) next = std::min(next, events_.begin()->first);
    if (next > until || next == Clock::Time::max()) break;
    if (next > now()) clock_.Advance(next - now());
    if (!events_.empty() && events_.begin()->first <= now()) {
      const std::function<void()> event = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      event();
    }
    Decide();
    Check();
    if (testing::Test::HasFailure()) return;
  }
  if (until != Clock::Time::max()) clock_.Advance(until - now());
}

GroupId SimulatedCluster::Join(GroupDescription description, Speed speed) {
  const GroupId id = next_group_++;
  Group group;
  group.description = description;
  group.speed = speed;
  groups_.emplace(id, std::move(group));
  dispatcher_.AddGroup(id, std::move(description));
  In(kTellEveryS * static_cast<double>(1 + id % 10) / 10, [this, id] { Tell(id); });
  return id;
}

void SimulatedCluster::Lose(GroupId id) {
  while (!groups_.at(id).runs.empty()) Stop(groups_.at(id).runs.begin()->first);
  groups_.erase(id);
  dispatcher_.RemoveGroup(id);
}

void SimulatedCluster::Drain(GroupId id) {
  groups_.at(id).draining = true;
  dispatcher_.DrainGroup(id);
}

void SimulatedCluster::Tell(GroupId id) {
  const auto it = groups_.find(id);
  if (it == groups_.end()) return;
  const Group& group = it->second;
  GroupLoad load;
  load.prefill_tokens_per_s = group.speed.prefill_tokens_per_s * group.speed.told;
  load.decode_step_s = group.speed.decode_step_s / group.speed.told;
  for (const auto& [ticket, run] : group.runs) {
    load.running.push_back({ticket, static_cast<int64_t>(ComputedTokens(run, now())),
                            requests_.at(ticket).done_tokens + OutputTokens(group, run, now())});
  }
  dispatcher_.SetLoad(id, load);
  if (!requests_.empty() || events_.size() > groups_.size()) In(kTellEveryS, [this, id] { Tell(id); });
}

double SimulatedCluster::ComputedTokens(const Group::Run& run, Clock::Time now) {
  if (now >= run.prefill_end) return run.prompt_tokens;
  if (now <= run.prefill_begin) return run.computed_tokens;
  return run.computed_tokens + (run.prompt_tokens - run.computed_tokens) *
                                   ToSeconds(now - run.prefill_begin) /
                                   ToSeconds(run.prefill_end - run.prefill_begin);
}

int64_t SimulatedCluster::OutputTokens(const Group& group, const Group::Run& run, Clock::Time now) {
  if (now <= run.prefill_end) return 0;
  return std::min(run.output_tokens,
                  static_cast<int64_t>(ToSeconds(now - run.prefill_end) / group.speed.decode_step_s));
}

absl::StatusOr<TicketId> SimulatedCluster::Submit(const Demand& demand, int64_t output_tokens) {
  const absl::StatusOr<TicketId> ticket = dispatcher_.Submit(demand);
  if (!ticket.ok()) return ticket;
  Request request;
  request.demand = demand;
  request.output_tokens = output_tokens;
  request.submitted = now();
  EXPECT_TRUE(requests_.emplace(*ticket, request).second);
  return ticket;
}

void SimulatedCluster::Cancel(TicketId ticket) {
  if (!requests_.contains(ticket)) return;
  Forget(ticket);
  dispatcher_.End(ticket, std::nullopt);
}

void SimulatedCluster::Decide() {
  for (const Decision& decision : dispatcher_.Decide()) {
    ++counts_[std::string(Name(decision.kind))];
    ASSERT_TRUE(requests_.contains(decision.ticket)) << decision.ticket;
    EXPECT_FALSE(decision.reason.empty());
    Request& request = requests_.at(decision.ticket);
    if (decision.kind == Decision::Kind::kStart) {
      Start(decision);
      continue;
    }
    EXPECT_EQ(decision.group, request.group) << "of what " << Name(decision.kind) << " is decided";
    if (decision.kind == Decision::Kind::kPreempt) {
      Stop(decision.ticket);
      continue;
    }
    EXPECT_TRUE(decision.kind == Decision::Kind::kFail || request.demand.deadline <= now());
    Forget(decision.ticket);
  }
}

void SimulatedCluster::Start(const Decision& decision) {
  const TicketId ticket = decision.ticket;
  Request& request = requests_.at(ticket);
  ASSERT_EQ(request.group, 0) << "request " << ticket << " runs twice";
  ASSERT_TRUE(groups_.contains(decision.group)) << "group " << decision.group << " is gone";
  Group& group = groups_.at(decision.group);
  EXPECT_FALSE(group.draining);
  EXPECT_NE(group.description.role, GroupRole::kPrefill);
  EXPECT_LE(request.demand.total_tokens(), group.description.max_context);
  Group::Run run;
  run.prompt_tokens = static_cast<double>(request.demand.prompt_tokens + request.done_tokens);
  run.output_tokens = request.output_tokens - request.done_tokens;
  run.pages = KvDemand(
      group.description.geometry,
      {request.demand.total_tokens(),
       request.demand.prompt_logits ? group.description.prompt_logits_chunk : group.description.chunk_tokens},
      decision.shift);
  run.prefill_begin = run.prefill_end = Clock::Time::max();
  request.group = decision.group;
  request.started = now();
  group.runs.emplace(ticket, std::move(run));
  Plan(decision.group);
  if (refuse_one_in_ > 0 && random_.OneIn(refuse_one_in_)) {
    In(0.001, [this, ticket, id = decision.group] {
      const auto it = requests_.find(ticket);
      if (it == requests_.end() || it->second.group != id) return;
      Stop(ticket);
      dispatcher_.Refused(ticket);
    });
  }
  if (on_start) on_start(ticket);
}

void SimulatedCluster::Stop(TicketId ticket) {
  Request& request = requests_.at(ticket);
  Group& group = groups_.at(request.group);
  request.done_tokens += OutputTokens(group, group.runs.at(ticket), now());
  group.runs.erase(ticket);
  Plan(std::exchange(request.group, 0));
}

void SimulatedCluster::Plan(GroupId id) {
  Group& group = groups_.at(id);
  ++group.plan;
  std::vector<std::pair<double, Group::Run*>> prompts;  // tokens left
  for (auto& [ticket, run] : group.runs) {
    run.computed_tokens = ComputedTokens(run, now());
    if (run.prefill_end > now()) prompts.emplace_back(run.prompt_tokens - run.computed_tokens, &run);
  }
  std::stable_sort(prompts.begin(), prompts.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Clock::Time at = now();
  for (const auto& [tokens, run] : prompts) {
    run->prefill_begin = at;
    at = run->prefill_end = at + FromSeconds(tokens / group.speed.prefill_tokens_per_s);
  }
  std::pair<Clock::Time, TicketId> first = {Clock::Time::max(), 0};
  for (const auto& [ticket, run] : group.runs) {
    const double output_s = static_cast<double>(run.output_tokens) * group.speed.decode_step_s;
    first = std::min(first, {run.prefill_end + FromSeconds(output_s), ticket});
  }
  if (group.runs.empty()) return;
  At(first.first, [this, id, ticket = first.second, plan = group.plan] {
    const auto it = groups_.find(id);
    if (it == groups_.end() || it->second.plan != plan) return;
    const int64_t output_tokens = requests_.at(ticket).output_tokens;
    ++counts_["end"];
    Forget(ticket);
    dispatcher_.End(ticket, output_tokens);
  });
}

void SimulatedCluster::Forget(TicketId ticket) {
  if (requests_.at(ticket).group != 0) Stop(ticket);
  if (on_end) on_end(ticket);
  requests_.erase(ticket);
}

void SimulatedCluster::Check() const {
  int64_t waiting = static_cast<int64_t>(requests_.size());
  int64_t prompt_tokens = 0;
  for (const auto& [ticket, request] : requests_) prompt_tokens += request.demand.prompt_tokens;
  std::vector<int64_t> reserved;
  // Assertions that hold would take most of the time.
  const auto holds = [](bool condition, GroupId group, const char* what) {
    if (!condition) ADD_FAILURE() << "group " << group << ": " << what;
  };
  for (const auto& [id, group] : groups_) {
    const GroupState& state = dispatcher_->group(id);
    const auto running = static_cast<int64_t>(group.runs.size());
    holds(state.running == running, id, "who runs there");
    holds(running <= group.description.max_sequences, id, "more run than there are slots");
    waiting -= running;
    const std::vector<int64_t>& capacity = group.description.geometry.pages_per_rank;
    reserved.assign(capacity.size(), 0);
    for (const auto& [ticket, run] : group.runs) {
      prompt_tokens -= requests_.at(ticket).demand.prompt_tokens;
      for (size_t k = 0; k < reserved.size(); ++k) reserved[k] += run.pages[k];
    }
    for (size_t k = 0; k < reserved.size(); ++k) {
      holds(reserved[k] <= capacity[k], id, "reserved > capacity");
      holds(reserved[k] == state.store.reserved(static_cast<int>(k)), id, "what is reserved");
    }
  }
  EXPECT_EQ(dispatcher_->waiting(), waiting);
  EXPECT_EQ(dispatcher_->waiting_prompt_tokens(), prompt_tokens);
}

}  // namespace longspan
