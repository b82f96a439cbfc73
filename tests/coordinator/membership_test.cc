#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/coordinator/control_messages.h"
#include "runtime/coordinator/group_agent.h"
#include "runtime/coordinator/group_server.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Tokens = std::vector<int32_t>;

constexpr seconds kLongest{60};  // for what happens at once on a machine with time

template <typename Condition>
bool Eventually(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

GroupDescription Description(const std::string& name = "alpha") {
  GroupDescription group;
  group.name = name;
  group.identity = {
      .protocol = kControlProtocol, .model = "gemma", .tokenizer = "spm", .numerics = "64 bf16"};
  group.hosts = {"here"};
  group.page_bytes = {64};
  group.transport_addresses = {"at home"};
  group.geometry = {.block_size = 1, .kvp = 1, .groups = {{}}, .pages_per_rank = {100}};
  group.max_sequences = 4;
  group.max_context = 100;
  group.chunk_tokens = 8;
  group.prompt_logits_chunk = 4;
  return group;
}

GroupStatus StatusAfter(int64_t steps) {
  GroupStatus status;
  status.engine.steps = steps;
  status.engine.ranks.resize(1);
  status.engine.ranks[0].capacity = 100;
  return status;
}

Request Prompt(Tokens prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

class Listener final : public ResponseListener {
 public:
  void OnPromptLogprobs(PositionLogprobs logprobs) override {
    const std::lock_guard lock(mutex_);
    prompt_.push_back(logprobs.chosen.token);
  }
  bool OnToken(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    tokens_.push_back(token.id);
    return token.id != stop_at;
  }
  void OnFinish(FinishReason reason) override { End(std::string(Name(reason))); }
  void OnError(const absl::Status& error) override { End(error.ToString()); }

  // Of what is heard by the end.
  std::string end() const {
    EXPECT_TRUE(Eventually([this] { return ended_.load(); }));
    const std::lock_guard lock(mutex_);
    return end_;
  }
  bool ended() const { return ended_; }
  Tokens tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  Tokens prompt() const {
    const std::lock_guard lock(mutex_);
    return prompt_;
  }

  std::atomic<int32_t> stop_at = -1;

 private:
  void End(std::string end) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_) << "ended by " << end_ << ", and by " << end;
    end_ = std::move(end);
    ended_ = true;
  }

  mutable std::mutex mutex_;
  Tokens tokens_, prompt_;
  std::string end_;
  std::atomic<bool> ended_ = false;
};

// The engine of a group, which does what a test tells it to.
class FakeEngine final : public GroupLink {
 public:
  struct Run {
    RunId id = 0;
    std::shared_ptr<const Request> request;
    std::shared_ptr<ResponseListener> listener;
    bool cancelled = false;

    void Say(int32_t token) const { listener->OnToken({.id = token, .pace = {}, .logprobs = std::nullopt}); }
  };
  void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) override {
    const std::lock_guard lock(mutex_);
    runs_.push_back({run, std::make_shared<const Request>(std::move(request)), std::move(listener)});
  }
  void Continue(RunId, int32_t) override { ADD_FAILURE() << "nothing is handed off here"; }
  void Cancel(RunId run) override {
    const std::lock_guard lock(mutex_);
    for (Run& known : runs_) known.cancelled |= known.id == run;
  }

  size_t runs() const {
    const std::lock_guard lock(mutex_);
    return runs_.size();
  }
  Run At(size_t index) const {
    EXPECT_TRUE(Eventually([&] { return runs() > index; }));
    const std::lock_guard lock(mutex_);
    return runs_.at(index);
  }
  bool WaitForCancel(size_t index) const {
    return Eventually([&] { return At(index).cancelled; });
  }

  // What the group tells of itself. Its agent stands still while `hung`.
  GroupStatus Status() const {
    EXPECT_TRUE(Eventually([this] { return !hung; }));
    return StatusAfter(steps);
  }
  std::atomic<int64_t> steps = 0;
  std::atomic<bool> hung = false;

 private:
  mutable std::mutex mutex_;
  std::vector<Run> runs_;
};

class MembershipTest : public testing::Test {
 protected:
  MembershipTest() {
    CoordinatorOptions options;
    options.limits = {.vocab_size = 50, .max_context = 100, .store_tokens = 0, .default_max_tokens = 10};
    options.eos_token_ids = {49};
    options.identity.protocol = kControlProtocol;
    coordinator_ = std::make_unique<Coordinator>(std::move(options), coordinators_time_);
  }
  // At `address_`, where there is one.
  void Listen(milliseconds heartbeat_timeout = milliseconds(60), milliseconds stall_timeout = seconds(120)) {
    GroupServerOptions options;
    if (!address_.empty()) options.address = address_;
    options.heartbeat_timeout = heartbeat_timeout;
    options.stall_timeout = stall_timeout;
    auto server = GroupServer::Listen(std::move(options), *coordinator_, coordinators_time_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    address_ = absl::StrCat("127.0.0.1:", server_->port());
  }
  std::unique_ptr<GroupAgent> NewAgent(GroupDescription description = Description()) {
    return std::make_unique<GroupAgent>(
        GroupAgentOptions{address_, {}, std::move(description)}, engine_, [this] { return engine_.Status(); },
        groups_time_);
  }
  // Whether the coordinator comes to have so many groups.
  bool WaitForGroups(size_t count) {
    return Eventually([&] { return coordinator_->view().groups.size() == count; });
  }
  bool WaitForLosses(int64_t count) {
    return Eventually([&] { return coordinator_->view().groups_lost_total == count; });
  }
  std::shared_ptr<Listener> Submit(Request request) {
    auto listener = std::make_shared<Listener>();
    const auto ticket = coordinator_->Submit(std::move(request), listener);
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    last_ticket_ = ticket.value_or(0);
    return listener;
  }

  ManualClock coordinators_time_, groups_time_;
  FakeEngine engine_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string address_;
  std::unique_ptr<GroupServer> server_;
  TicketId last_ticket_ = 0;
};

TEST_F(MembershipTest, AGroupJoinsTellsHowItFaresAndRunsRequests) {
  Listen();
  engine_.steps = 12;
  const auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  EXPECT_EQ(coordinator_->view().groups[0].description.name, "alpha");
  EXPECT_TRUE(Eventually([&] {
    const auto told = coordinator_->view().groups[0].told;
    return told != nullptr && told->engine.steps == 12;
  }));
  engine_.steps = 13;
  EXPECT_TRUE(Eventually([&] { return coordinator_->view().groups[0].told->engine.steps == 13; }));

  Request request = Prompt({1, 2, 3}, 5);
  request.sampling.temperature = 0.5;
  request.prompt_logits = true;
  request.logprobs = 1;
  const auto listener = Submit(std::move(request));
  const FakeEngine::Run run = engine_.At(0);
  EXPECT_EQ(run.request->prompt, (Tokens{1, 2, 3}));
  EXPECT_EQ(run.request->sampling.temperature, 0.5);
  EXPECT_TRUE(run.request->sampling.seed.has_value());
  EXPECT_EQ(agent->open(), 1);
  run.listener->OnPromptLogprobs({.chosen = {2, -1}, .top = {}});
  run.Say(10);
  run.Say(11);
  run.listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
  EXPECT_EQ(listener->prompt(), Tokens{2});
  EXPECT_EQ(listener->tokens(), (Tokens{10, 11}));
  EXPECT_EQ(agent->open(), 0);
  EXPECT_TRUE(agent->refusal().ok());
}

TEST_F(MembershipTest, WhoHasEnoughOrGivesUpIsHeardByTheGroup) {
  Listen();
  const auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  auto listener = Submit(Prompt({1}, 50));
  engine_.At(0).Say(10);
  coordinator_->Cancel(last_ticket_);
  EXPECT_EQ(listener->end(), "cancelled");
  EXPECT_TRUE(engine_.WaitForCancel(0));

  listener = Submit(Prompt({1}, 50));
  listener->stop_at = 11;
  for (const int32_t token : {10, 11, 12, 13}) engine_.At(1).Say(token);
  EXPECT_EQ(listener->end(), "stop");
  EXPECT_EQ(listener->tokens(), (Tokens{10, 11}));
  EXPECT_TRUE(engine_.WaitForCancel(1));

  listener = Submit(Prompt({1}, 50));
  engine_.At(2).listener->OnError(absl::InvalidArgumentError("a grammar of nothing"));
  EXPECT_EQ(listener->end(), "INVALID_ARGUMENT: a grammar of nothing");
  EXPECT_EQ(agent->open(), 0);
}

TEST_F(MembershipTest, AGroupThatIsSilentIsLostAndJoinsAgain) {
  Listen();
  const auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  const auto listener = Submit(Prompt({1}, 50));
  const FakeEngine::Run first = engine_.At(0);
  first.Say(10);
  ASSERT_TRUE(Eventually([&] { return listener->tokens() == Tokens{10}; }));
  engine_.hung = true;
  // Until what it has said before is heard, and nothing more comes.
  ASSERT_TRUE(Eventually([&] {
    coordinators_time_.Advance(milliseconds(61));
    std::this_thread::sleep_for(milliseconds(11));
    return coordinator_->view().groups_lost_total > 0;
  }));
  EXPECT_FALSE(listener->ended());
  EXPECT_TRUE(engine_.WaitForCancel(0));
  first.Say(40);  // for nobody
  engine_.hung = false;
  const FakeEngine::Run second = engine_.At(1);
  EXPECT_EQ(second.request->generated, Tokens{10});
  EXPECT_EQ(second.request->sampling.seed, first.request->sampling.seed);
  first.Say(41);
  first.listener->OnFinish(FinishReason::kCancelled);
  second.Say(11);
  second.listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
  EXPECT_EQ(listener->tokens(), (Tokens{10, 11}));
  EXPECT_EQ(coordinator_->view().group_restarts_total, 1);
}

TEST_F(MembershipTest, AGroupThatHasWorkAndMakesNoStepIsLost) {
  Listen(milliseconds(600), milliseconds(1));
  const auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  coordinators_time_.Advance(milliseconds(2));  // it has no work
  const auto listener = Submit(Prompt({1}, 50));
  engine_.At(0);
  ASSERT_TRUE(Eventually([&] { return coordinator_->view().groups[0].told != nullptr; }));
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
  coordinators_time_.Advance(milliseconds(2));
  ASSERT_TRUE(WaitForLosses(1));
  EXPECT_TRUE(engine_.WaitForCancel(0));
  const FakeEngine::Run again = engine_.At(1);
  again.listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
}

TEST_F(MembershipTest, GroupsJoinACoordinatorThatComesBack) {
  Listen();
  const auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  const auto listener = Submit(Prompt({1}, 50));
  engine_.At(0).Say(10);
  ASSERT_TRUE(Eventually([&] { return listener->tokens() == Tokens{10}; }));
  server_.reset();
  EXPECT_TRUE(coordinator_->view().groups.empty());
  EXPECT_TRUE(engine_.WaitForCancel(0));
  Listen();
  ASSERT_TRUE(WaitForGroups(1));
  EXPECT_EQ(coordinator_->view().groups[0].id, 2);
  EXPECT_EQ(engine_.At(1).request->generated, Tokens{10});
  engine_.At(1).listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
}

TEST_F(MembershipTest, AGroupDrains) {
  Listen();
  auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  const auto listener = Submit(Prompt({1}, 50));
  const FakeEngine::Run run = engine_.At(0);
  agent->Drain();
  EXPECT_TRUE(Eventually([&] { return agent->drained(); }));
  EXPECT_TRUE(coordinator_->view().groups[0].draining);
  EXPECT_EQ(agent->open(), 1);
  const auto waits = Submit(Prompt({1}, 5));
  run.Say(10);
  run.listener->OnFinish(FinishReason::kLength);
  EXPECT_EQ(listener->end(), "length");
  EXPECT_EQ(engine_.runs(), 1u);
  agent->Leave(absl::OkStatus());
  EXPECT_TRUE(WaitForGroups(0));
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
  agent = NewAgent();
  engine_.At(1).listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(waits->end(), "stop");
}

TEST_F(MembershipTest, AGroupThatIsToDrainSaysSoWheneverItJoins) {
  Listen();
  server_.reset();
  const auto agent = NewAgent();
  agent->Drain();
  EXPECT_TRUE(agent->drained());  // nobody can ask for anything
  Listen();
  EXPECT_TRUE(Eventually([&] {
    const ClusterView view = coordinator_->view();
    return view.groups.size() == 1 && view.groups[0].draining;
  }));
  EXPECT_TRUE(Eventually([&] { return agent->drained(); }));
}

// Drain and Leave may come at any moment of joining.
TEST_F(MembershipTest, AgentsThatEndAtOnce) {
  Listen();
  for (int i = 0; i < 30; ++i) {
    const auto agent = NewAgent();
    if (i % 3 == 0) agent->Drain();
    if (i % 2 == 0) agent->Leave(absl::OkStatus());
    if (i % 5 == 0) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_TRUE(agent->refusal().ok()) << agent->refusal();
  }
  EXPECT_TRUE(WaitForGroups(0));
  server_.reset();
  for (int i = 0; i < 10; ++i) {
    const auto agent = NewAgent();
    if (i % 2 == 0) agent->Leave(absl::OkStatus());
  }
}

TEST_F(MembershipTest, AGroupThatLeavesIsHeardToTheEnd) {
  Listen();
  for (int round = 0; round < 10; ++round) {
    const auto agent = NewAgent();
    const auto index = static_cast<size_t>(round);
    ASSERT_TRUE(WaitForGroups(1));
    const auto listener = Submit(Prompt({1}, 90));
    const FakeEngine::Run run = engine_.At(index);
    Tokens said;
    for (int32_t token = 0; token < 40; ++token) {
      run.Say(token);
      said.push_back(token);
    }
    run.listener->OnFinish(FinishReason::kStop);
    agent->Leave(absl::OkStatus());
    EXPECT_EQ(listener->end(), "stop");
    EXPECT_EQ(listener->tokens(), said);
    EXPECT_TRUE(WaitForGroups(0));
  }
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
}

TEST_F(MembershipTest, AGroupThatFailsIsLostAndItsRequestsGoOn) {
  Listen();
  auto agent = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  const auto listener = Submit(Prompt({1}, 50));
  engine_.At(0).Say(10);
  ASSERT_TRUE(Eventually([&] { return !listener->tokens().empty(); }));
  engine_.At(0).listener->OnFinish(FinishReason::kError);
  ASSERT_TRUE(WaitForLosses(1));
  EXPECT_FALSE(listener->ended());
  agent->Leave(absl::InternalError("rank 3 is lost"));
  agent = NewAgent();
  EXPECT_TRUE(Eventually([&] { return engine_.runs() >= 2; }));
  const size_t last = engine_.runs() - 1;
  EXPECT_EQ(engine_.At(last).request->generated, Tokens{10});
  engine_.At(last).listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
}

TEST_F(MembershipTest, AGroupThatIsRefusedDoesNotTryAgain) {
  Listen();
  const auto first = NewAgent();
  ASSERT_TRUE(WaitForGroups(1));
  GroupDescription other = Description("other");
  other.identity.model = "llama";
  const auto agent = NewAgent(other);
  EXPECT_TRUE(Eventually([&] { return !agent->refusal().ok(); }));
  EXPECT_TRUE(absl::IsFailedPrecondition(agent->refusal())) << agent->refusal();
  EXPECT_EQ(agent->refusal().message().find("its model is llama, and here it is gemma"), 0u)
      << agent->refusal();
  GroupDescription broken = Description("broken");
  broken.max_sequences = 0;
  const auto without = NewAgent(broken);
  EXPECT_TRUE(Eventually([&] { return absl::IsInvalidArgument(without->refusal()); }));
  EXPECT_EQ(coordinator_->view().groups.size(), 1u);
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
}

// --- one side alone

// A coordinator that does what a test tells it to.
class FakeCoordinator {
 public:
  FakeCoordinator() {
    auto server = ListenForGroups("127.0.0.1:0", {}, [this](std::shared_ptr<ToGroupStream> stream) {
      const std::lock_guard lock(mutex_);
      streams_.push_back(std::move(stream));
      return std::make_shared<Handler>();
    });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }
  std::shared_ptr<ToGroupStream> Stream(size_t index) {
    EXPECT_TRUE(Eventually([&] { return streams() > index; }));
    const std::lock_guard lock(mutex_);
    return streams_.at(index);
  }
  size_t streams() {
    const std::lock_guard lock(mutex_);
    return streams_.size();
  }

 private:
  class Handler final : public FromGroupHandler {
    void OnMessage(control::FromGroup) override {}
    void OnClose(const absl::Status&) override {}
  };

  std::mutex mutex_;
  std::vector<std::shared_ptr<ToGroupStream>> streams_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(MembershipTest, AGroupLeavesACoordinatorThatIsSilent) {
  FakeCoordinator silent;
  address_ = silent.address();
  const auto agent = NewAgent();
  // It does not answer.
  silent.Stream(0);
  groups_time_.Advance(seconds(6));
  const auto stream = silent.Stream(1);
  // It answers, asks for something, and then it hangs.
  control::ToGroup message;
  message.mutable_registered()->set_group(1);
  message.mutable_registered()->set_heartbeat_ms(10);
  stream->Send(message);
  *message.mutable_start() = [] {
    Request request = Prompt({1}, 5);
    request.sampling.seed = 1;
    request.shift = 0;
    return ToMessage(77, request);
  }();
  stream->Send(message);
  engine_.At(0);
  groups_time_.Advance(milliseconds(100));
  EXPECT_TRUE(engine_.WaitForCancel(0));
  silent.Stream(2);
  EXPECT_TRUE(agent->refusal().ok());
}

// A group that does what a test tells it to.
class FakeAgent final : public ToGroupHandler {
 public:
  void OnMessage(control::ToGroup message) override {
    if (message.has_registered()) registered = true;
  }
  void OnClose(const absl::Status& why) override {
    const std::lock_guard lock(mutex_);
    why_ = why;
    closed_ = true;
  }
  absl::Status Closed() {
    EXPECT_TRUE(Eventually([this] { return closed_.load(); }));
    const std::lock_guard lock(mutex_);
    return why_;
  }
  std::atomic<bool> registered = false;

 private:
  std::mutex mutex_;
  std::atomic<bool> closed_ = false;
  absl::Status why_;
};

control::FromGroup RegisterMessage() {
  control::FromGroup message;
  *message.mutable_register_() = ToMessage(Description());
  return message;
}

TEST_F(MembershipTest, WhoBreaksTheRulesIsSentAway) {
  Listen(seconds(60));  // no heartbeat is on its way when it is closed
  control::FromGroup status, token;
  *status.mutable_status() = ToMessage(StatusAfter(1));
  status.mutable_status()->add_ranks();
  token.mutable_token()->set_run(1);
  const struct {
    const char* says;
    bool registers;
    control::FromGroup message;
    absl::StatusCode code;
  } cases[] = {
      {"it has not registered", false, token, absl::StatusCode::kFailedPrecondition},
      {"it has registered twice", true, RegisterMessage(), absl::StatusCode::kFailedPrecondition},
      {"a group of 1 kvp ranks tells of ranks of another number", true, status,
       absl::StatusCode::kInvalidArgument},
  };
  int64_t lost = 0;
  for (const auto& c : cases) {
    const auto agent = std::make_shared<FakeAgent>();
    const auto stream = JoinCoordinator(address_, {}, agent);
    if (c.registers) {
      stream->Send(RegisterMessage());
      ASSERT_TRUE(Eventually([&] { return agent->registered.load(); }));
      ++lost;
    }
    stream->Send(c.message);
    const absl::Status why = agent->Closed();
    if (!absl::IsCancelled(why)) {  // unless the answer to the registration counts as on its way
      EXPECT_EQ(why.code(), c.code) << why;
      EXPECT_EQ(why.message(), c.says);
    }
    EXPECT_TRUE(WaitForGroups(0));
    EXPECT_EQ(coordinator_->view().groups_lost_total, lost);
  }
}

TEST_F(MembershipTest, WhatIsSaidOfRunsThatAreUnknownIsNotHeard) {
  Listen();
  const auto agent = std::make_shared<FakeAgent>();
  const auto stream = JoinCoordinator(address_, {}, agent);
  stream->Send(RegisterMessage());
  ASSERT_TRUE(WaitForGroups(1));
  control::FromGroup message;
  for (const int64_t run : {int64_t{-1}, int64_t{0}, int64_t{1} << 60}) {
    message.mutable_token()->set_run(run);
    stream->Send(message);
    message.mutable_prompt_logprobs()->set_run(run);
    stream->Send(message);
    *message.mutable_end() = EndMessage(run, FinishReason::kStop);
    stream->Send(message);
  }
  message.Clear();  // of a later build
  stream->Send(message);
  const auto listener = Submit(Prompt({1}, 5));
  message.mutable_token()->set_run(1);
  message.mutable_token()->set_id(7);
  stream->Send(message);
  *message.mutable_end() = EndMessage(1, FinishReason::kStop);
  stream->Send(message);
  EXPECT_EQ(listener->end(), "stop");
  EXPECT_EQ(listener->tokens(), Tokens{7});
  stream->Close(absl::InternalError("the group has failed"));
  EXPECT_TRUE(WaitForLosses(1));
  EXPECT_TRUE(absl::IsInternal(agent->Closed()));
}

TEST_F(MembershipTest, AnAddressThatIsTakenIsNamed) {
  Listen();
  GroupServerOptions options;
  options.address = address_;
  const auto second = GroupServer::Listen(options, *coordinator_, coordinators_time_);
  ASSERT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_NE(second.status().message().find(address_), std::string::npos) << second.status();
}

}  // namespace
}  // namespace longspan
