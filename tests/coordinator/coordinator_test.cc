#include "runtime/coordinator/coordinator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/engine/sampler.h"

namespace longspan {
namespace {

using std::chrono::seconds;
using Tokens = std::vector<int32_t>;

constexpr int32_t kEos = 49;
constexpr seconds kLongest{60};  // for what happens at once on a machine with time

CoordinatorOptions Options() {
  CoordinatorOptions options;
  options.limits = {.vocab_size = 50, .max_context = 100, .store_tokens = 0, .default_max_tokens = 10};
  options.eos_token_ids = {kEos};
  options.seed = 7;
  return options;
}

GroupDescription Description(const std::string& name = "alpha") {
  GroupDescription group;
  group.name = name;
  group.identity = {.protocol = 1, .model = "gemma", .tokenizer = "spm", .numerics = "64 bf16"};
  group.hosts = {"here", "here"};
  group.page_bytes = {64, 64};
  group.geometry = {.block_size = 1, .kvp = 2, .groups = {{}}, .pages_per_rank = {60, 60}};
  group.max_sequences = 4;
  group.max_context = 100;
  group.chunk_tokens = 8;
  group.prompt_logits_chunk = 4;
  return group;
}

Request Prompt(Tokens prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

GeneratedToken Token(int32_t id) { return {.id = id, .pace = {}, .logprobs = {}}; }
PositionLogprobs LogprobsOf(int32_t token) { return {.chosen = {token, -0.5}, .top = {}}; }

// Keeps what it hears, and checks that it ends once, with its end.
class Listener final : public ResponseListener {
 public:
  ~Listener() override { EXPECT_TRUE(ended()) << "a request without an end"; }
  void OnStart() override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    ++starts_;
  }
  void OnPromptLogprobs(PositionLogprobs logprobs) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    prompt_.push_back(logprobs.chosen.token);
  }
  bool OnToken(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    tokens_.push_back(token.id);
    return token.id != stop_at;
  }
  void OnFinish(FinishReason reason) override { End(std::string(Name(reason))); }
  void OnError(const absl::Status& error) override { End(error.ToString()); }

  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  // The name of a reason, or an error; empty while there is none.
  std::string end() const {
    const std::lock_guard lock(mutex_);
    return end_;
  }
  std::string WaitForEnd() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kLongest, [this] { return ended_; }));
    return end_;
  }
  Tokens tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  Tokens prompt() const {
    const std::lock_guard lock(mutex_);
    return prompt_;
  }
  int starts() const {
    const std::lock_guard lock(mutex_);
    return starts_;
  }

  int32_t stop_at = -1;

 private:
  void End(std::string end) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_) << "ended by " << end_ << ", and by " << end;
    ended_ = true;
    end_ = std::move(end);
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Tokens tokens_, prompt_;
  int starts_ = 0;
  bool ended_ = false;
  std::string end_;
};

// A group that does what a test tells it to.
class FakeGroup final : public GroupLink {
 public:
  struct Run {
    RunId id = 0;
    Request request;
    std::shared_ptr<ResponseListener> listener;
    bool cancelled = false;
  };
  void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) override {
    runs.push_back({run, std::move(request), std::move(listener)});
  }
  void Continue(RunId, int32_t) override { ADD_FAILURE() << "nothing is handed off here"; }
  void Cancel(RunId run) override {
    for (Run& known : runs) known.cancelled |= known.id == run;
  }
  std::vector<Run> runs;
};

class CoordinatorTest : public testing::Test {
 protected:
  void Begin(CoordinatorOptions options = Options()) {
    coordinator_ = std::make_unique<Coordinator>(std::move(options), clock_);
  }
  std::shared_ptr<FakeGroup> Join(GroupDescription description = Description()) {
    if (coordinator_ == nullptr) Begin();
    const auto group = std::make_shared<FakeGroup>();
    const auto id = coordinator_->AddGroup(std::move(description), [&](GroupId) { return group; });
    EXPECT_TRUE(id.ok()) << id.status();
    last_group_ = *id;
    return group;
  }
  TicketId Submit(Request request, std::shared_ptr<Listener> listener) {
    const auto ticket = coordinator_->Submit(std::move(request), std::move(listener));
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    return ticket.value_or(0);
  }
  void Lose(GroupId group) { coordinator_->RemoveGroup(group, absl::UnavailableError("it is silent")); }
  void Tell(GroupId group, int64_t steps = 1) {
    GroupStatus status;
    status.engine.steps = steps;
    status.engine.ranks.resize(2);
    coordinator_->SetStatus(group, std::move(status));
  }
  // Nothing is promised to anybody.
  void ExpectIdle() {
    const ClusterView view = coordinator_->view();
    EXPECT_EQ(coordinator_->open(), 0);
    EXPECT_EQ(view.waiting, 0);
    EXPECT_EQ(view.waiting_prompt_tokens, 0);
    for (const GroupView& group : view.groups) {
      EXPECT_EQ(group.running, 0);
      for (const int64_t pages : group.reserved) EXPECT_EQ(pages, 0);
    }
  }

  ManualClock clock_;
  std::unique_ptr<Coordinator> coordinator_;
  GroupId last_group_ = 0;
};

TEST_F(CoordinatorTest, ARequestRunsOnAGroupAndItsTokensComeBack) {
  const auto group = Join();
  const auto listener = std::make_shared<Listener>();
  Request request = Prompt({1, 2, 3}, 5);
  request.sampling.temperature = 0.5;
  const TicketId ticket = Submit(std::move(request), listener);
  ASSERT_EQ(group->runs.size(), 1u);
  FakeGroup::Run& run = group->runs[0];
  EXPECT_EQ(run.request.prompt, (Tokens{1, 2, 3}));
  EXPECT_EQ(run.request.generated, Tokens{});
  EXPECT_EQ(run.request.max_tokens, 5);
  EXPECT_EQ(run.request.sampling.temperature, 0.5);
  EXPECT_EQ(run.request.sampling.seed, DeriveSeed(7, ticket));
  EXPECT_EQ(run.request.first_logits, 0);
  EXPECT_TRUE(run.request.shift.has_value());
  EXPECT_EQ(listener->starts(), 1);
  EXPECT_EQ(coordinator_->open(), 1);
  EXPECT_GT(coordinator_->view().groups[0].reserved[0], 0);

  EXPECT_TRUE(run.listener->OnToken(Token(10)));
  EXPECT_TRUE(run.listener->OnToken(Token(11)));
  EXPECT_EQ(listener->tokens(), (Tokens{10, 11}));
  run.listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->end(), "stop");
  EXPECT_FALSE(run.listener->OnToken(Token(12)));  // nobody listens
  run.listener->OnFinish(FinishReason::kLength);
  EXPECT_EQ(listener->tokens().size(), 2u);
  ExpectIdle();
}

TEST_F(CoordinatorTest, WhatCannotRunIsRefusedAndToldWhy) {
  Begin();
  const auto unheard = [] { return std::shared_ptr<ResponseListener>(); };
  EXPECT_TRUE(absl::IsUnavailable(coordinator_->Admits()));
  EXPECT_FALSE(coordinator_->Submit(Prompt({1}, 1), unheard()).ok());
  Join();
  EXPECT_TRUE(coordinator_->Admits().ok());
  EXPECT_EQ(coordinator_->limits().store_tokens, 100);
  EXPECT_TRUE(absl::IsInvalidArgument(coordinator_->Submit(Prompt({}, 1), unheard()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(coordinator_->Submit(Prompt({50}, 1), unheard()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(coordinator_->Submit(Prompt({1}, 100), unheard()).status()));
  ExpectIdle();
}

TEST_F(CoordinatorTest, ARequestThatIsCancelledEndsAtOnceAndItsGroupIsTold) {
  const auto group = Join();
  const auto runs = std::make_shared<Listener>(), waits = std::make_shared<Listener>();
  const TicketId first = Submit(Prompt({1, 2}, 90), runs);
  const TicketId second = Submit(Prompt({1, 2}, 90), waits);
  ASSERT_EQ(group->runs.size(), 1u);
  EXPECT_EQ(coordinator_->view().waiting, 1);
  group->runs[0].listener->OnToken(Token(5));

  coordinator_->Cancel(second);
  EXPECT_EQ(waits->end(), "cancelled");
  EXPECT_EQ(waits->starts(), 0);
  coordinator_->Cancel(first);
  EXPECT_EQ(runs->end(), "cancelled");
  EXPECT_TRUE(group->runs[0].cancelled);
  // What was on its way.
  EXPECT_FALSE(group->runs[0].listener->OnToken(Token(6)));
  group->runs[0].listener->OnFinish(FinishReason::kCancelled);
  EXPECT_EQ(runs->tokens(), Tokens{5});
  coordinator_->Cancel(first);
  coordinator_->Cancel(12345);
  ExpectIdle();
}

TEST_F(CoordinatorTest, AfterTheLossOfItsGroupARequestGoesOnElsewhere) {
  const auto a = Join(Description("a"));
  const GroupId id_a = last_group_;
  const auto listener = std::make_shared<Listener>();
  Request request = Prompt({1, 2, 3}, 9);
  request.sampling.temperature = 1;
  request.logprobs = 2;
  Submit(std::move(request), listener);
  const auto b = Join(Description("b"));
  for (const int32_t token : {10, 11}) a->runs[0].listener->OnToken(Token(token));
  ASSERT_TRUE(b->runs.empty());
  Lose(id_a);

  ASSERT_EQ(b->runs.size(), 1u);
  const FakeGroup::Run& first = a->runs[0];
  FakeGroup::Run& second = b->runs[0];
  EXPECT_FALSE(first.cancelled);  // there is nobody to tell
  EXPECT_NE(second.id, first.id);
  EXPECT_EQ(second.request.prompt, (Tokens{1, 2, 3}));
  EXPECT_EQ(second.request.generated, (Tokens{10, 11}));
  EXPECT_EQ(second.request.max_tokens, 9);
  EXPECT_EQ(second.request.sampling.seed, first.request.sampling.seed);
  EXPECT_EQ(second.request.sampling.temperature, 1);
  EXPECT_EQ(second.request.logprobs, 2);
  EXPECT_EQ(second.request.first_logits, 4);  // of the token after the two
  EXPECT_FALSE(first.listener->OnToken(Token(40)));
  first.listener->OnFinish(FinishReason::kError);
  second.listener->OnToken(Token(12));
  second.listener->OnFinish(FinishReason::kLength);
  EXPECT_EQ(listener->tokens(), (Tokens{10, 11, 12}));
  EXPECT_EQ(listener->starts(), 1);
  EXPECT_EQ(listener->end(), "length");
  const ClusterView view = coordinator_->view();
  EXPECT_EQ(view.groups_lost_total, 1);
  EXPECT_EQ(view.recomputed_after_loss_total, 4);
  EXPECT_EQ(view.group_restarts_total, 0);
  Join(Description("a"));
  EXPECT_EQ(coordinator_->view().group_restarts_total, 1);
  ExpectIdle();
}

TEST_F(CoordinatorTest, LogprobsOfAPromptGoOnWhereTheyWereWhenTheGroupWasLost) {
  CoordinatorOptions options = Options();
  options.dispatcher.max_losses = 3;
  Begin(options);
  const auto a = Join(Description("a"));
  const GroupId id_a = last_group_;
  const auto listener = std::make_shared<Listener>();
  Request request = Prompt({1, 2, 3, 4}, 0);
  request.prompt_logits = true;
  request.logprobs = 0;
  Submit(std::move(request), listener);
  const auto b = Join(Description("b"));
  const GroupId id_b = last_group_;
  for (const int32_t token : {2, 3}) a->runs[0].listener->OnPromptLogprobs(LogprobsOf(token));
  Lose(id_a);
  ASSERT_EQ(b->runs.size(), 1u);
  EXPECT_TRUE(b->runs[0].request.prompt_logits);
  EXPECT_EQ(b->runs[0].request.first_logits, 2);
  a->runs[0].listener->OnPromptLogprobs(LogprobsOf(4));  // nobody listens
  b->runs[0].listener->OnPromptLogprobs(LogprobsOf(4));
  // All is there but the end.
  const auto c = Join(Description("c"));
  Lose(id_b);
  ASSERT_EQ(c->runs.size(), 1u);
  EXPECT_EQ(c->runs[0].request.first_logits, 3);
  c->runs[0].listener->OnFinish(FinishReason::kLength);
  EXPECT_EQ(listener->prompt(), (Tokens{2, 3, 4}));
  EXPECT_EQ(listener->end(), "length");
  ExpectIdle();
}

// It may be what kills them.
TEST_F(CoordinatorTest, ARequestIsGivenUpWhenItHasLostItsGroupsTooOften) {
  std::vector<std::shared_ptr<FakeGroup>> groups;
  const auto listener = std::make_shared<Listener>();
  groups.push_back(Join());
  Submit(Prompt({1}, 9), listener);
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(listener->ended());
    const GroupId lost = last_group_;
    groups.push_back(Join());
    Lose(lost);
  }
  EXPECT_EQ(groups[1]->runs.size(), 1u);
  EXPECT_TRUE(groups[2]->runs.empty());
  EXPECT_EQ(listener->end().find("UNAVAILABLE: 2 groups were lost"), 0u) << listener->end();
  ExpectIdle();
}

TEST_F(CoordinatorTest, AGroupThatLeavesInOrderIsNotALoss) {
  const auto listener = std::make_shared<Listener>();
  auto group = Join();
  Submit(Prompt({1}, 9), listener);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(group->runs.size(), 1u);
    EXPECT_EQ(std::ssize(group->runs[0].request.generated), i);
    group->runs[0].listener->OnToken(Token(i));
    const GroupId leaves = last_group_;
    group = Join();
    coordinator_->RemoveGroup(leaves, absl::OkStatus());
    EXPECT_FALSE(listener->ended()) << listener->end();
  }
  ASSERT_EQ(group->runs.size(), 1u);
  group->runs[0].listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(listener->tokens(), (Tokens{0, 1, 2, 3, 4}));
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
  ExpectIdle();
}

// A group may be lost between the last token and the end.
TEST_F(CoordinatorTest, TokensThatAreAllThereNeedNoOtherGroup) {
  struct Case {
    std::string name;
    Tokens tokens;
    bool ignore_eos;
    int32_t stop_at;
    std::string end;  // empty: it goes on
  };
  for (const Case& c :
       {Case{"the largest output", {1, 2, 3}, false, -1, "length"},
        Case{"end of sequence", {1, kEos}, false, -1, "stop"},
        Case{"end of sequence, ignored", {1, kEos}, true, -1, ""},
        Case{"end of sequence as the last token", {1, 2, kEos}, false, -1, "stop"},
        Case{"the listener has enough", {1, 2}, false, 2, "stop"}, Case{"not done", {1, 2}, false, -1, ""}}) {
    SCOPED_TRACE(c.name);
    Begin();
    const auto a = Join(Description("a"));
    const GroupId id_a = last_group_;
    const auto listener = std::make_shared<Listener>();
    listener->stop_at = c.stop_at;
    Request request = Prompt({1, 2}, 3);
    request.ignore_eos = c.ignore_eos;
    Submit(std::move(request), listener);
    const auto b = Join(Description("b"));
    for (const int32_t token : c.tokens) {
      EXPECT_EQ(a->runs[0].listener->OnToken(Token(token)), token != c.stop_at);
    }
    Lose(id_a);
    EXPECT_EQ(listener->end(), c.end);
    EXPECT_EQ(b->runs.size(), c.end.empty() ? 1u : 0u);
    if (c.end.empty()) b->runs[0].listener->OnFinish(FinishReason::kLength);
    EXPECT_EQ(listener->tokens(), c.tokens);
    ExpectIdle();
  }
}

TEST_F(CoordinatorTest, AGroupThatRefusesIsTriedAgainAfterItsNextStatus) {
  for (const bool cancels : {false, true}) {
    Begin();
    const auto group = Join();
    const auto listener = std::make_shared<Listener>();
    Submit(Prompt({1, 2}, 5), listener);
    group->runs[0].listener->OnToken(Token(7));
    if (cancels) {
      group->runs[0].listener->OnFinish(FinishReason::kCancelled);
    } else {
      group->runs[0].listener->OnError(absl::ResourceExhaustedError("it is full"));
    }
    EXPECT_FALSE(listener->ended());
    EXPECT_EQ(group->runs.size(), 1u);
    EXPECT_EQ(coordinator_->view().waiting, 1);
    Tell(last_group_);
    ASSERT_EQ(group->runs.size(), 2u);
    EXPECT_EQ(group->runs[1].request.generated, Tokens{7});
    group->runs[1].listener->OnFinish(FinishReason::kLength);
    EXPECT_EQ(listener->end(), "length");
    ExpectIdle();
  }
}

TEST_F(CoordinatorTest, AnErrorThatIsTheRequestsOwnEndsIt) {
  const auto group = Join();
  const auto listener = std::make_shared<Listener>();
  Submit(Prompt({1, 2}, 5), listener);
  group->runs[0].listener->OnError(absl::InvalidArgumentError("a grammar of nothing"));
  EXPECT_EQ(listener->end(), "INVALID_ARGUMENT: a grammar of nothing");
  ExpectIdle();
}

TEST_F(CoordinatorTest, AGroupOfAnotherIdentityIsNotTakenIn) {
  CoordinatorOptions options = Options();
  options.identity.model = "gemma";
  Begin(options);
  const auto refuse = [](GroupId) -> std::shared_ptr<GroupLink> {
    ADD_FAILURE() << "no link is needed";
    return nullptr;
  };
  GroupDescription other = Description();
  other.identity.model = "llama";
  absl::Status status = coordinator_->AddGroup(other, refuse).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(status.message().find("its model is llama, and here it is gemma"), std::string::npos) << status;

  // From the first one on, the rest of it counts too.
  Join();
  EXPECT_EQ(coordinator_->identity().numerics, "64 bf16");
  const std::pair<const char*, std::function<void(GroupIdentity&)>> changes[] = {
      {"protocol", [](GroupIdentity& identity) { identity.protocol = 2; }},
      {"model", [](GroupIdentity& identity) { identity.model = "llama"; }},
      {"tokenizer", [](GroupIdentity& identity) { identity.tokenizer = "bpe"; }},
      {"numerics", [](GroupIdentity& identity) { identity.numerics = "16 bf16"; }}};
  for (const auto& [field, change] : changes) {
    GroupDescription changed = Description();
    change(changed.identity);
    status = coordinator_->AddGroup(changed, refuse).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << field;
    EXPECT_EQ(status.message().find(absl::StrCat("its ", field, " is ")), 0u) << status;
  }
  EXPECT_EQ(coordinator_->view().groups.size(), 1u);
}

TEST_F(CoordinatorTest, TheNumericsOfGroupsThatHaveLeftBindNobody) {
  const auto a = Join();
  GroupDescription other = Description("b");
  other.identity.numerics = "16 bf16";
  const auto join_other = [&] {
    return coordinator_->AddGroup(other, [](GroupId) { return std::make_shared<FakeGroup>(); }).status();
  };
  const auto listener = std::make_shared<Listener>();
  Submit(Prompt({1, 2}, 5), listener);
  a->runs[0].listener->OnStart();
  a->runs[0].listener->OnToken(Token(7));
  EXPECT_TRUE(absl::IsFailedPrecondition(join_other()));
  coordinator_->RemoveGroup(1, absl::OkStatus());
  // Its token is of the numerics of before.
  EXPECT_TRUE(absl::IsFailedPrecondition(join_other()));
  coordinator_->Cancel(1);
  EXPECT_TRUE(join_other().ok());
  EXPECT_EQ(coordinator_->identity().numerics, "16 bf16");
}

TEST_F(CoordinatorTest, AGroupThatDrainsKeepsWhatItHasAndGetsNothingNew) {
  const auto a = Join(Description("a"));
  const GroupId id_a = last_group_;
  const auto first = std::make_shared<Listener>(), second = std::make_shared<Listener>();
  Submit(Prompt({1}, 5), first);
  coordinator_->DrainGroup(id_a);
  coordinator_->DrainGroup(999);
  EXPECT_TRUE(coordinator_->view().groups[0].draining);
  const auto b = Join(Description("b"));
  Submit(Prompt({1}, 5), second);
  EXPECT_EQ(a->runs.size(), 1u);
  ASSERT_EQ(b->runs.size(), 1u);
  a->runs[0].listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(first->end(), "stop");
  coordinator_->RemoveGroup(id_a, absl::OkStatus());
  coordinator_->RemoveGroup(id_a, absl::UnavailableError("once"));
  EXPECT_EQ(coordinator_->view().groups_lost_total, 0);
  b->runs[0].listener->OnFinish(FinishReason::kStop);
  ExpectIdle();
}

TEST_F(CoordinatorTest, TotalsOfLostGroupsAreKept) {
  Join(Description("a"));
  Tell(last_group_, 5);
  Lose(last_group_);
  EXPECT_EQ(coordinator_->view().totals.steps, 5);
  Join(Description("a"));
  Tell(last_group_, 2);
  EXPECT_EQ(coordinator_->view().totals.steps, 7);
  Tell(1, 100);  // of the lost one
  EXPECT_EQ(coordinator_->view().totals.steps, 7);
}

TEST_F(CoordinatorTest, DrainingLetsRequestsEndAndCancelsThemAfterItsTime) {
  const auto group = Join();
  const auto ends = std::make_shared<Listener>(), stays = std::make_shared<Listener>();
  Submit(Prompt({1}, 5), ends);
  Submit(Prompt({1}, 5), stays);
  coordinator_->Drain(seconds(10));
  coordinator_->Drain(seconds(0));  // the first one counts
  const auto refused = coordinator_->Submit(Prompt({1}, 5), nullptr);
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  EXPECT_TRUE(absl::IsUnavailable(coordinator_->Admits()));
  group->runs[0].listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(ends->end(), "stop");
  EXPECT_FALSE(coordinator_->drained());
  clock_.Advance(seconds(11));
  EXPECT_EQ(stays->WaitForEnd(), "cancelled");
  EXPECT_TRUE(group->runs[1].cancelled);
  EXPECT_TRUE(coordinator_->drained());
  ExpectIdle();
}

TEST_F(CoordinatorTest, FailingEndsEverythingWithItsReason) {
  const auto group = Join();
  const auto runs = std::make_shared<Listener>(), waits = std::make_shared<Listener>();
  Submit(Prompt({1}, 90), runs);
  Submit(Prompt({1}, 90), waits);
  coordinator_->Fail(absl::InternalError("rank 3 is lost"));
  coordinator_->Fail(absl::InternalError("the first one counts"));
  EXPECT_EQ(runs->end(), "INTERNAL: rank 3 is lost");
  EXPECT_EQ(waits->end(), "INTERNAL: rank 3 is lost");
  EXPECT_TRUE(group->runs[0].cancelled);
  EXPECT_EQ(coordinator_->Submit(Prompt({1}, 5), nullptr).status(), absl::InternalError("rank 3 is lost"));
  EXPECT_EQ(coordinator_->Admits(), absl::InternalError("rank 3 is lost"));
  ExpectIdle();
}

TEST_F(CoordinatorTest, DeadlinesEndThoseThatRunAndThoseThatWait) {
  const auto group = Join();
  std::shared_ptr<Listener> listeners[2];
  for (auto& listener : listeners) {
    listener = std::make_shared<Listener>();
    Request request = Prompt({1}, 90);
    request.deadline = clock_.Now() + seconds(5);
    Submit(std::move(request), listener);
  }
  ASSERT_EQ(group->runs.size(), 1u);
  group->runs[0].listener->OnToken(Token(3));
  clock_.Advance(seconds(6));
  for (const auto& listener : listeners) EXPECT_EQ(listener->WaitForEnd(), "deadline");
  EXPECT_TRUE(group->runs[0].cancelled);
  ExpectIdle();
}

TEST_F(CoordinatorTest, WithoutGroupsARequestWaitsForOneForATime) {
  for (const bool comes_back : {true, false}) {
    Begin();
    auto group = Join();
    const auto listener = std::make_shared<Listener>();
    Submit(Prompt({1}, 5), listener);
    group->runs[0].listener->OnToken(Token(3));
    Lose(last_group_);
    EXPECT_FALSE(listener->ended());
    EXPECT_EQ(coordinator_->view().waiting, 1);
    clock_.Advance(seconds(20));
    if (comes_back) {
      group = Join();
      ASSERT_EQ(group->runs.size(), 1u);
      EXPECT_EQ(group->runs[0].request.generated, Tokens{3});
      group->runs[0].listener->OnFinish(FinishReason::kStop);
      EXPECT_EQ(listener->end(), "stop");
    } else {
      clock_.Advance(seconds(11));
      EXPECT_EQ(listener->WaitForEnd().find("UNAVAILABLE: "), 0u) << listener->end();
    }
    ExpectIdle();
  }
}

TEST_F(CoordinatorTest, APreemptedRequestGoesOnFromItsTokens) {
  const auto group = Join();
  const auto low = std::make_shared<Listener>(), high = std::make_shared<Listener>();
  Request request = Prompt({1, 2}, 90);
  request.priority = -10;
  Submit(std::move(request), low);
  group->runs[0].listener->OnToken(Token(5));
  request = Prompt({3}, 90);
  request.priority = 10;
  Submit(std::move(request), high);
  ASSERT_EQ(group->runs.size(), 2u);
  EXPECT_TRUE(group->runs[0].cancelled);
  EXPECT_EQ(coordinator_->view().preemptions_total, 1);
  EXPECT_EQ(coordinator_->view().recomputed_after_preemption_total, 2);
  EXPECT_FALSE(group->runs[0].listener->OnToken(Token(6)));
  group->runs[0].listener->OnFinish(FinishReason::kCancelled);
  group->runs[1].listener->OnFinish(FinishReason::kStop);
  ASSERT_EQ(group->runs.size(), 3u);
  EXPECT_EQ(group->runs[2].request.generated, Tokens{5});
  group->runs[2].listener->OnFinish(FinishReason::kStop);
  EXPECT_EQ(low->end(), "stop");
  EXPECT_EQ(low->starts(), 1);
  EXPECT_EQ(high->end(), "stop");
  ExpectIdle();
}

// --- all at once

int32_t NextToken(const Tokens& prompt, size_t generated) {
  return (prompt[0] * 7 + static_cast<int32_t>(generated)) % kEos;
}

// A group with a thread of its own, whose tokens follow from prompt and position. It refuses now and then,
// and tells how it fares.
class BusyGroup final : public GroupLink {
 public:
  explicit BusyGroup(uint32_t seed) : random_(seed) {}
  ~BusyGroup() override { Stop(); }

  void Begin(Coordinator& coordinator, GroupId id) {
    thread_ = std::thread([this, &coordinator, id] { Loop(coordinator, id); });
  }
  void Stop() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

  void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) override {
    const std::lock_guard lock(mutex_);
    runs_.push_back({run, std::move(request), std::move(listener), false});
    changed_.notify_all();
  }
  void Continue(RunId, int32_t) override { ADD_FAILURE() << "nothing is handed off here"; }
  void Cancel(RunId run) override {
    const std::lock_guard lock(mutex_);
    for (Run& known : runs_) known.cancelled |= known.id == run;
  }

 private:
  struct Run {
    RunId id = 0;
    Request request;
    std::shared_ptr<ResponseListener> listener;
    bool cancelled = false;
  };

  void Loop(Coordinator& coordinator, GroupId id) {
    std::unique_lock lock(mutex_);
    for (int64_t step = 1; !ending_; ++step) {
      if (runs_.empty()) changed_.wait_for(lock, std::chrono::milliseconds(1));
      if (!runs_.empty()) {
        const size_t index = random_() % runs_.size();
        Run run = std::move(runs_[index]);
        runs_.erase(runs_.begin() + static_cast<ptrdiff_t>(index));
        const bool refuses = random_() % 50 == 0;
        lock.unlock();
        const bool goes_on = Advance(run, refuses);
        lock.lock();
        // A cancel in between is not heard: its listener says so at the next token.
        if (goes_on) runs_.push_back(std::move(run));
      }
      if (step % 8 == 0) {
        lock.unlock();
        GroupStatus status;
        status.engine.steps = step;
        status.engine.prefill_tokens_per_s = 1000;
        status.engine.decode_step_s = 0.01;
        status.engine.ranks.resize(2);
        coordinator.SetStatus(id, std::move(status));
        lock.lock();
      }
    }
  }
  static bool Advance(Run& run, bool refuses) {
    Request& request = run.request;
    if (run.cancelled) {
      run.listener->OnFinish(FinishReason::kCancelled);
      return false;
    }
    if (refuses) {
      run.listener->OnError(absl::ResourceExhaustedError("not now"));
      return false;
    }
    const int32_t token = NextToken(request.prompt, request.generated.size());
    request.generated.push_back(token);
    if (!run.listener->OnToken(Token(token))) {
      run.listener->OnFinish(FinishReason::kStop);
      return false;
    }
    if (std::ssize(request.generated) < *request.max_tokens) return true;
    run.listener->OnFinish(FinishReason::kLength);
    return false;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937 random_;
  std::vector<Run> runs_;
  bool ending_ = false;
  std::thread thread_;
};

TEST_F(CoordinatorTest, EveryRequestEndsOnceWhateverDies) {
  CoordinatorOptions options = Options();
  options.dispatcher.max_losses = 4;
  Begin(options);
  std::vector<std::shared_ptr<BusyGroup>> groups;
  std::vector<GroupId> alive;
  const auto join = [&] {
    const auto group = std::make_shared<BusyGroup>(static_cast<uint32_t>(groups.size()));
    const auto id = coordinator_->AddGroup(Description(), [&](GroupId) { return group; });
    ASSERT_TRUE(id.ok()) << id.status();
    group->Begin(*coordinator_, *id);
    groups.push_back(group);
    alive.push_back(*id);
  };
  for (int i = 0; i < 3; ++i) join();

  struct Asked {
    int32_t prompt;
    int64_t max_tokens;
    std::shared_ptr<Listener> listener;
  };
  constexpr int kThreads = 3, kRequests = 300;
  std::vector<Asked> asked[kThreads];
  std::atomic<int> busy = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      std::vector<TicketId> tickets;
      while (std::ssize(asked[t]) < kRequests) {
        Asked one{static_cast<int32_t>(random() % 40), 1 + static_cast<int64_t>(random() % 40),
                  std::make_shared<Listener>()};
        Request request = Prompt(Tokens(1 + random() % 20, one.prompt), one.max_tokens);
        request.priority = static_cast<int>(random() % 3);
        request.ignore_eos = true;
        const auto ticket = coordinator_->Submit(std::move(request), one.listener);
        if (!ticket.ok()) {  // full
          one.listener->OnError(ticket.status());
          std::this_thread::yield();
          continue;
        }
        asked[t].push_back(std::move(one));
        tickets.push_back(*ticket);
        if (random() % 5 == 0) coordinator_->Cancel(tickets[random() % tickets.size()]);
      }
      --busy;
    });
  }
  std::mt19937 random(99);
  const auto end = std::chrono::steady_clock::now() + kLongest;
  for (int deaths = 0; (busy > 0 || coordinator_->open() > 0) && std::chrono::steady_clock::now() < end;) {
    // What has died goes on talking.
    if (deaths < 40 && random() % 3 == 0) {
      const size_t index = random() % alive.size();
      coordinator_->RemoveGroup(
          alive[index], random() % 4 == 0 ? absl::OkStatus() : absl::UnavailableError("it is silent"));
      alive.erase(alive.begin() + static_cast<ptrdiff_t>(index));
      ++deaths;
      join();
    }
    if (random() % 10 == 0) coordinator_->DrainGroup(alive[random() % (alive.size() - 1)]);
    const ClusterView view = coordinator_->view();
    for (const GroupView& group : view.groups) {
      for (const int64_t pages : group.reserved) {
        EXPECT_GE(pages, 0);
        EXPECT_LE(pages, 60);
      }
    }
    if (deaths >= 40 && std::none_of(view.groups.begin(), view.groups.end(),
                                     [](const GroupView& group) { return !group.draining; })) {
      join();
    }
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  int done = 0;
  for (const auto& of_thread : asked) {
    for (const Asked& one : of_thread) {
      const std::string why = one.listener->WaitForEnd();
      const Tokens tokens = one.listener->tokens();
      EXPECT_LE(std::ssize(tokens), one.max_tokens);
      for (size_t i = 0; i < tokens.size(); ++i) ASSERT_EQ(tokens[i], NextToken({one.prompt}, i));
      if (why == "length") {
        EXPECT_EQ(std::ssize(tokens), one.max_tokens);
        ++done;
      } else if (why != "cancelled") {
        EXPECT_NE(why.find("groups were lost while they ran this request"), std::string::npos) << why;
      }
    }
  }
  EXPECT_GT(done, kThreads * kRequests / 2);
  ExpectIdle();
  for (const auto& group : groups) group->Stop();
}

}  // namespace
}  // namespace longspan
