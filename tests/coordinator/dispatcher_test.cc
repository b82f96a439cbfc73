#include "runtime/coordinator/dispatcher.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/engine/admission.h"

namespace longspan {
namespace {

using Pages = std::vector<int64_t>;

constexpr double kEarly = 0.02;

// Groups where a token is a page. Where nothing else is said a prompt token takes 1 ms, and a step 0.1 s.
class DispatcherTest : public testing::Test {
 protected:
  void Begin(DispatcherOptions options = {}) { dispatcher_.emplace(options); }
  void Join(GroupId id, std::vector<int64_t> pages_per_rank, int64_t slots = 10,
            GroupRole role = GroupRole::kMixed) {
    if (!dispatcher_) Begin();
    GroupDescription group;
    group.role = role;
    group.geometry = {.block_size = 1,
                      .kvp = static_cast<int>(pages_per_rank.size()),
                      .groups = {{}},
                      .pages_per_rank = std::move(pages_per_rank)};
    group.max_sequences = slots;
    group.max_context = 1000;
    group.chunk_tokens = group.prompt_logits_chunk = 8;
    dispatcher_->AddGroup(id, group);
    Tell(id, {});
  }
  bool Tell(GroupId id, std::vector<GroupLoad::Progress> running, double prefill_tokens_per_s = 1000) {
    return dispatcher_->SetLoad(id, {prefill_tokens_per_s, 0.1, std::move(running)});
  }
  absl::StatusOr<TicketId> TrySubmit(int64_t prompt, int64_t output, int priority = 0,
                                     std::optional<double> deadline_s = std::nullopt) {
    Demand demand;
    demand.prompt_tokens = prompt;
    demand.max_tokens = output;
    demand.priority = priority;
    if (deadline_s) demand.deadline = now_ + FromSeconds(*deadline_s);
    return dispatcher_->Submit(demand, now_);
  }
  TicketId Submit(int64_t prompt, int64_t output, int priority = 0,
                  std::optional<double> deadline_s = std::nullopt) {
    const absl::StatusOr<TicketId> ticket = TrySubmit(prompt, output, priority, deadline_s);
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    return ticket.value_or(0);
  }
  // Such as "preempt 2 from 1, start 3 on 1, start 5 on 1 by 6, fail 4": the prompt of 5 is computed by 6.
  std::string Decide() {
    std::string decided;
    for (const Decision& decision : dispatcher_->Decide(now_)) {
      reason_ = decision.reason;
      shift_ = decision.shift;
      absl::StrAppend(&decided, decided.empty() ? "" : ", ", std::string(Name(decision.kind)), " ",
                      decision.ticket);
      if (decision.group == 0) continue;
      absl::StrAppend(&decided, decision.kind == Decision::Kind::kStart ? " on " : " from ", decision.group);
      if (decision.prefill_group != 0) absl::StrAppend(&decided, " by ", decision.prefill_group);
    }
    EXPECT_TRUE(dispatcher_->Decide(now_).empty());
    return decided;
  }
  void Pass(double seconds) { now_ += FromSeconds(seconds); }
  std::vector<int64_t> Reserved(GroupId id) const {
    std::vector<int64_t> reserved;
    const Reservations& store = dispatcher_->group(id).store;
    for (int k = 0; k < store.geometry().kvp; ++k) reserved.push_back(store.reserved(k));
    return reserved;
  }

  std::optional<Dispatcher> dispatcher_;
  Clock::Time now_;
  std::string reason_;  // of the last decision
  int shift_ = 0;
};

TEST_F(DispatcherTest, TheWholeDemandIsReservedOnEveryRankAndReturnedAtOnce) {
  Join(1, {10, 4});
  const TicketId first = Submit(5, 3);
  EXPECT_EQ(Decide(), "start 1 on 1");
  EXPECT_EQ(Reserved(1), (Pages{4, 4}));
  Submit(1, 0);
  EXPECT_EQ(Decide(), "start 2 on 1");  // there is room on rank 0 alone
  EXPECT_EQ(shift_, 0);
  EXPECT_EQ(Reserved(1), (Pages{5, 4}));
  Submit(1, 1);
  EXPECT_EQ(Decide(), "");
  dispatcher_->End(first, 1);
  EXPECT_EQ(Reserved(1), (Pages{1, 0}));
  EXPECT_EQ(Decide(), "start 3 on 1");
  EXPECT_FALSE(dispatcher_->End(first, 1));
}

TEST_F(DispatcherTest, WhatNeverFitsIsRefusedWithTheLargestContext) {
  Join(1, {10});
  Join(2, {5, 4});
  Join(3, {100}, 10, GroupRole::kPrefill);
  EXPECT_EQ(dispatcher_->LargestContext(), 10);
  absl::Status status = TrySubmit(8, 3).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "contexts of 10 tokens, so that the output could have 2"));
  status = TrySubmit(11, 3).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::EndsWith(status.message(), "contexts of 10 tokens"));
  EXPECT_TRUE(TrySubmit(8, 2).ok());
}

TEST_F(DispatcherTest, WithoutAGroupThatAnswersNothingIsTaken) {
  Begin();
  EXPECT_EQ(dispatcher_->Admits(), absl::UnavailableError("no group has joined yet: try again later"));
  Join(1, {100}, 1, GroupRole::kPrefill);
  EXPECT_EQ(dispatcher_->Admits(), absl::UnavailableError("only prefill groups are there: try again later"));
  dispatcher_->RemoveGroup(1, now_);
  EXPECT_EQ(dispatcher_->Admits(), absl::UnavailableError("no group is left: try again later"));
}

TEST_F(DispatcherTest, AFullQueueRefuses) {
  Begin({.max_waiting = 2, .max_waiting_tokens = 50});
  EXPECT_TRUE(absl::IsUnavailable(dispatcher_->Admits()));
  EXPECT_TRUE(absl::IsUnavailable(TrySubmit(1, 1).status()));
  Join(1, {100}, 1);
  Submit(10, 10);
  EXPECT_EQ(Decide(), "start 1 on 1");
  Submit(60, 0);  // alone it may be of any length
  EXPECT_TRUE(absl::StrContains(TrySubmit(1, 1).status().message(), "prompts of 60 tokens and takes 50"));
  dispatcher_->End(2, std::nullopt);
  Submit(20, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(TrySubmit(31, 1).status()));
  Submit(30, 1);
  EXPECT_TRUE(absl::StrContains(dispatcher_->Admits().message(), "full with 2 requests"));
  EXPECT_TRUE(absl::IsResourceExhausted(TrySubmit(1, 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TrySubmit(200, 1).status())) << "it need not try again";
}

TEST_F(DispatcherTest, TiesGoToTheGroupThatJoinedFirst) {
  for (const GroupId id : {4, 5, 6}) Join(id, {100});
  for (int i = 0; i < 4; ++i) Submit(10, 10);
  EXPECT_EQ(Decide(), "start 1 on 4, start 2 on 5, start 3 on 6, start 4 on 4");
}

TEST_F(DispatcherTest, OneThatFitsNowhereIsOvertakenOnlyByThoseThatEndBeforeThereIsRoom) {
  Join(1, {100});
  Submit(40, 20);  // ends in 0.04 + 2 s
  EXPECT_EQ(Decide(), "start 1 on 1");
  const TicketId large = Submit(90, 10);
  Submit(1, 21);  // 0.041 + 2.1 s
  EXPECT_EQ(Decide(), "");
  Submit(10, 19);  // 0.05 + 1.9 s
  EXPECT_EQ(Decide(), "start 4 on 1");
  EXPECT_TRUE(absl::StrContains(reason_, "ends before there is room for request 2"));
  dispatcher_->End(1, 20);
  EXPECT_EQ(Decide(), "");
  dispatcher_->End(4, 19);
  EXPECT_EQ(Decide(), "start 2 on 1");
  dispatcher_->End(large, 10);
  EXPECT_EQ(Decide(), "start 3 on 1");
}

TEST_F(DispatcherTest, NobodyOvertakesForLong) {
  Join(1, {200});
  Submit(10, 90);  // 9 s, by what it may come to
  Decide();
  Submit(100, 20);
  Submit(1, 50);  // 0.011 + 5 s
  EXPECT_EQ(Decide(), "");
  Submit(1, 49);
  EXPECT_EQ(Decide(), "start 4 on 1");
}

// Steps take ten times as long as the group tells, and small requests come all the time.
TEST_F(DispatcherTest, WrongEstimatesDoNotStarve) {
  Join(1, {100});
  const TicketId first = Submit(1, 49);
  EXPECT_EQ(Decide(), "start 1 on 1");
  const TicketId large = Submit(50, 50);
  std::map<TicketId, Clock::Time> ends = {{first, now_ + FromSeconds(49)}};
  std::optional<double> started_s;
  for (int i = 0; i < 3000 && !started_s; ++i) {
    Pass(0.1);
    for (auto it = ends.begin(); it != ends.end();) {
      if (it->second > now_) {
        ++it;
        continue;
      }
      dispatcher_->End(it->first, std::nullopt);
      it = ends.erase(it);
    }
    // Told with every output that is 0 still, so that its end seems as far away as it did.
    if (i % 10 == 0) Tell(1, {{first, 1, 0}, {2, 0, i % 20}});
    if (dispatcher_->waiting() < 20) Submit(1, 9);
    for (const Decision& decision : dispatcher_->Decide(now_)) {
      ends[decision.ticket] = now_ + FromSeconds(9);
      if (decision.ticket == large) started_s = ToSeconds(now_.time_since_epoch());
    }
  }
  ASSERT_TRUE(started_s);
  EXPECT_LE(*started_s, 49 + 9 + 0.2);  // those that had begun, at their true pace
}

TEST_F(DispatcherTest, RoomIsKeptOnAGroupForEach) {
  Join(1, {100});
  Join(2, {100});
  Submit(10, 30);
  Submit(10, 30);
  EXPECT_EQ(Decide(), "start 1 on 1, start 2 on 2");
  Submit(10, 90);
  Submit(10, 90);
  Submit(1, 35);  // fits on either, and would be there for longer than those that run
  EXPECT_EQ(Decide(), "");
  dispatcher_->End(2, std::nullopt);
  EXPECT_EQ(Decide(), "start 3 on 2") << "and its place on 1 goes to 4, not to 5";
  dispatcher_->End(1, std::nullopt);
  EXPECT_EQ(Decide(), "start 4 on 1");
}

TEST_F(DispatcherTest, RoomIsKeptElsewhereWhenItsGroupGoes) {
  for (const bool drains : {true, false}) {
    Begin();
    Join(1, {100});
    Join(2, {110});
    Submit(10, 40);  // group 2 has room first
    Submit(10, 60);
    EXPECT_EQ(Decide(), "start 1 on 2, start 2 on 1");
    Submit(10, 90);
    EXPECT_EQ(Decide(), "");
    if (drains) {
      dispatcher_->DrainGroup(2);
    } else {
      dispatcher_->RemoveGroup(2, now_);
      dispatcher_->End(1, std::nullopt);
    }
    EXPECT_EQ(Decide(), "");
    Pass(3.5);
    Submit(1, 25);  // room is kept on 1 now, for 6.01 s
    Submit(1, 24);
    EXPECT_EQ(Decide(), "start 5 on 1") << drains;
  }
}

TEST_F(DispatcherTest, GoesByPriorityThatRisesWithWaiting) {
  Join(1, {100}, 1);
  Submit(10, 10, 9);
  EXPECT_EQ(Decide(), "start 1 on 1");
  Submit(1, 1, 0);
  Pass(ToSeconds(2 * kAgeingInterval) + kEarly);
  Submit(1, 1, 3);
  Submit(1, 1, 2);
  EXPECT_EQ(Decide(), "");
  dispatcher_->End(1, 10);
  EXPECT_EQ(Decide(), "start 3 on 1");  // 3, 2 + 0, 0 + 2
  dispatcher_->End(3, 1);
  EXPECT_EQ(Decide(), "start 4 on 1");
  dispatcher_->End(4, 1);
  Submit(1, 1, 1);
  EXPECT_EQ(Decide(), "start 2 on 1");
}

TEST_F(DispatcherTest, AHigherPriorityTakesTheLeastFromOthers) {
  Join(1, {100});
  Join(2, {100});
  Submit(10, 60, 1);
  Submit(10, 50, 0);
  Submit(10, 20, 0);
  Submit(10, 30, 1);
  EXPECT_EQ(Decide(), "start 1 on 1, start 4 on 2, start 2 on 2, start 3 on 1");
  Submit(10, 40, 1);  // equals stay, and without 3 there is too little room on 1
  EXPECT_EQ(Decide(), "preempt 2 from 2, start 5 on 2");
  EXPECT_EQ(Reserved(2), (Pages{90}));
  // By a preemption it counts as 1, and so nobody of 1 takes its place again.
  dispatcher_->End(5, 50);
  EXPECT_EQ(Decide(), "start 2 on 2");
  Submit(10, 40, 1);
  EXPECT_EQ(Decide(), "");
}

TEST_F(DispatcherTest, NobodyIsPreemptedForOneThatWouldNotFitThen) {
  Join(1, {100});
  Submit(10, 40, 0);
  Submit(10, 40, 5);
  Decide();
  Submit(10, 41, 4);
  EXPECT_EQ(Decide(), "");
}

TEST_F(DispatcherTest, DeadlinesEndThoseThatWaitAndThoseThatRun) {
  Join(1, {100}, 1);
  Submit(10, 10, 0, 5);
  Submit(10, 10, 0, 3);
  EXPECT_EQ(Decide(), "start 1 on 1");
  EXPECT_EQ(dispatcher_->next_event(), now_ + FromSeconds(3));
  Pass(2.9);
  EXPECT_EQ(Decide(), "");
  Pass(0.1);
  EXPECT_EQ(Decide(), "expire 2");
  EXPECT_EQ(dispatcher_->next_event(), now_ + FromSeconds(2));
  Submit(1, 1);
  Pass(2);
  EXPECT_EQ(Decide(), "expire 1 from 1, start 3 on 1");
  EXPECT_EQ(dispatcher_->next_event(), Clock::Time::max());
}

TEST_F(DispatcherTest, OneThatNoGroupCouldHoldWaitsForAnother) {
  Begin({.homeless_timeout = std::chrono::seconds(10)});
  Join(1, {100});
  Join(2, {10});
  Submit(50, 10);
  EXPECT_EQ(Decide(), "start 1 on 1");
  dispatcher_->RemoveGroup(1, now_);
  Submit(5, 1);
  EXPECT_EQ(Decide(), "start 2 on 2") << "it stands in nobody's way";
  EXPECT_EQ(dispatcher_->next_event(), now_ + FromSeconds(10));
  Pass(9);
  Join(3, {60});
  EXPECT_EQ(Decide(), "start 1 on 3");
  Submit(60, 0);
  dispatcher_->DrainGroup(3);
  EXPECT_EQ(Decide(), "");
  Pass(10);
  EXPECT_EQ(Decide(), "fail 3");
  EXPECT_TRUE(absl::StrContains(reason_, "no group that could hold its 60 tokens has been there for 10 s"));
}

TEST_F(DispatcherTest, OneWhoseGroupsAreLostIsGivenUp) {
  for (const GroupId id : {1, 2, 3}) Join(id, {100});
  Submit(10, 10);
  EXPECT_EQ(Decide(), "start 1 on 1");
  dispatcher_->RemoveGroup(1, now_);
  EXPECT_EQ(Decide(), "start 1 on 2");
  dispatcher_->RemoveGroup(2, now_);
  EXPECT_EQ(Decide(), "fail 1");
  EXPECT_TRUE(absl::StrContains(reason_, "2 groups were lost"));
  EXPECT_EQ(Reserved(3), (Pages{0}));
}

TEST_F(DispatcherTest, ALostOneGetsItsOldPlace) {
  Join(1, {100}, 1);
  Submit(10, 10);
  Decide();
  Submit(10, 10);
  dispatcher_->RemoveGroup(1, now_);
  Join(2, {100}, 1);
  EXPECT_EQ(Decide(), "start 1 on 2");
}

TEST_F(DispatcherTest, AGroupThatDrainsGetsNoMore) {
  Join(1, {100});
  Join(2, {50});
  EXPECT_TRUE(dispatcher_->DrainGroup(1));
  EXPECT_FALSE(dispatcher_->DrainGroup(1));
  Submit(10, 10);
  Submit(30, 30);
  EXPECT_EQ(Decide(), "start 1 on 2");
  EXPECT_EQ(dispatcher_->LargestContext(), 100);
}

TEST_F(DispatcherTest, AGroupThatHasRefusedIsTriedAgainAfterItsNextLoad) {
  Join(1, {100});
  Join(2, {100});
  Submit(10, 10);
  EXPECT_EQ(Decide(), "start 1 on 1");
  EXPECT_TRUE(dispatcher_->Refused(1, now_));
  EXPECT_FALSE(dispatcher_->Refused(1, now_));
  EXPECT_EQ(Reserved(1), (Pages{0}));
  EXPECT_EQ(Decide(), "start 1 on 2");
  dispatcher_->Refused(1, now_);
  EXPECT_EQ(Decide(), "");
  Submit(10, 10);
  EXPECT_EQ(Decide(), "start 2 on 1") << "others are not refused";
  EXPECT_TRUE(Tell(2, {})) << "the same load is news to those refused";
  EXPECT_EQ(Decide(), "start 1 on 2");
}

TEST_F(DispatcherTest, APromptIsComputedWhereTheFirstTokenComesFirst) {
  const struct {
    GroupRole role;
    int64_t left, prefill_left;  // of prompts on the group, and on the prefill group
    int64_t prompt;
    const char* decided;
  } kCases[] = {
      {GroupRole::kMixed, 0, 0, 800, "start 3 on 1"},
      {GroupRole::kMixed, 50, 0, 50, "start 3 on 1"},  // 0.1 s on either
      {GroupRole::kMixed, 51, 0, 50, "start 3 on 1 by 2"},
      {GroupRole::kMixed, 51, 1, 50, "start 3 on 1"},
      {GroupRole::kMixed, 151, 100, 50, "start 3 on 1 by 2"},
      // Twice 0.05 s there, 0.05 + 0.05 s elsewhere.
      {GroupRole::kDecode, 0, 0, 50, "start 3 on 1"},
      {GroupRole::kDecode, 0, 0, 51, "start 3 on 1 by 2"},
      {GroupRole::kDecode, 0, 1, 51, "start 3 on 1"},
  };
  for (const auto& [role, left, prefill_left, prompt, decided] : kCases) {
    SCOPED_TRACE(absl::StrCat(std::string(Name(role)), " ", left, " ", prefill_left, " ", prompt));
    Begin();
    Join(1, {10'000}, 10, role);
    Join(2, {10'000}, 10, GroupRole::kPrefill);
    Submit(400, 0);
    Submit(400, 100);
    ASSERT_EQ(Decide(), "start 1 on 1, start 2 on 1 by 2");
    Tell(1, {{1, 400 - left, 0}});
    Tell(2, {{2, 400 - prefill_left, 0}});
    Submit(prompt, 1);
    EXPECT_EQ(Decide(), decided);
  }
}

TEST_F(DispatcherTest, ThePrefillGroupIsTheEarliestThatHasRoom) {
  Join(1, {1000}, 10, GroupRole::kDecode);
  Tell(1, {}, 100);
  for (const GroupId id : {2, 3, 4}) Join(id, {500, 500}, 2, GroupRole::kPrefill);
  for (int i = 0; i < 4; ++i) Submit(100, 1);
  EXPECT_EQ(Decide(), "start 1 on 1 by 2, start 2 on 1 by 3, start 3 on 1 by 4, start 4 on 1 by 2")
      << "equals go to the one that joined first";
  EXPECT_TRUE(absl::StrContains(reason_, "first token expected in 0.250 s"));
  EXPECT_TRUE(absl::EndsWith(reason_, "its prompt comes from group 2"));
  Tell(4, {}, 4000);
  Submit(100, 1);
  EXPECT_EQ(Decide(), "start 5 on 1 by 4");
  Submit(100, 1);
  EXPECT_EQ(Decide(), "start 6 on 1 by 3") << "4 has no slot";
  dispatcher_->DrainGroup(4);
  dispatcher_->Prefilled(3);
  Submit(100, 1);
  EXPECT_EQ(Decide(), "start 7 on 1") << "nobody waits for a prefill group";
}

TEST_F(DispatcherTest, APromptThatNoPrefillGroupTakesIsComputedWhereItsRequestRuns) {
  for (const bool draining : {false, true}) {
    Begin();
    Join(1, {1000}, 10, GroupRole::kDecode);
    Join(2, {102}, 10, GroupRole::kPrefill);
    if (draining) dispatcher_->DrainGroup(2);
    Submit(102, 1);
    EXPECT_EQ(Decide(), "start 1 on 1") << "there is no page for its first output";
    dispatcher_->End(1, 1);
    Submit(101, 0);
    EXPECT_EQ(Decide(), "start 2 on 1") << "it has no output";
    dispatcher_->End(2, 0);
    Demand demand;
    demand.prompt_tokens = 101;
    demand.max_tokens = 1;
    demand.prompt_logits = true;
    ASSERT_TRUE(dispatcher_->Submit(demand, now_).ok());
    EXPECT_EQ(Decide(), "start 3 on 1");
    dispatcher_->End(3, 1);
    Submit(101, 1);
    EXPECT_EQ(Decide(), draining ? "start 4 on 1" : "start 4 on 1 by 2");
    EXPECT_EQ(Reserved(2), (Pages{draining ? 0 : 102}));
  }
}

TEST_F(DispatcherTest, WhatAPromptNeedsIsReservedOnBothUntilItHasArrived) {
  Join(1, {300, 300}, 10, GroupRole::kDecode);
  Tell(1, {}, 100);
  Join(2, {200, 90}, 10, GroupRole::kPrefill);
  Submit(100, 50);
  Submit(70, 10);
  EXPECT_EQ(Decide(), "start 1 on 1 by 2, start 2 on 1 by 2");
  EXPECT_EQ(Reserved(1), (Pages{75 + 40, 75 + 40}));
  EXPECT_EQ(Reserved(2), (Pages{51 + 36, 50 + 35}));
  EXPECT_EQ(dispatcher_->group(1).running, 2);
  EXPECT_EQ(dispatcher_->group(2).running, 2);
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 0);
  EXPECT_EQ(dispatcher_->group(2).prefill_tokens_left, 170);
  // Each tells of its part.
  EXPECT_TRUE(Tell(2, {{1, 30, 7}}));
  EXPECT_FALSE(Tell(1, {{1, 20, 0}}, 100));
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 0);
  EXPECT_EQ(dispatcher_->group(2).prefill_tokens_left, 140);

  EXPECT_TRUE(dispatcher_->Prefilled(1));
  EXPECT_EQ(Reserved(1), (Pages{75 + 40, 75 + 40}));
  EXPECT_EQ(Reserved(2), (Pages{36, 35}));
  EXPECT_EQ(dispatcher_->group(2).running, 1);
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 0);
  EXPECT_EQ(dispatcher_->group(2).prefill_tokens_left, 70);
  EXPECT_FALSE(dispatcher_->Prefilled(1));
  EXPECT_FALSE(dispatcher_->Prefilled(99));
  // Its group computes it after all.
  EXPECT_TRUE(Tell(1, {{1, 60, 0}}, 100));
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 40);
  EXPECT_FALSE(Tell(2, {{1, 90, 0}}));
  dispatcher_->End(1, 50);
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 0);
  dispatcher_->RemoveGroup(2, now_);
  EXPECT_EQ(Decide(), "start 2 on 1");
  EXPECT_FALSE(dispatcher_->Prefilled(2));
}

TEST_F(DispatcherTest, WhateverStopsARequestReturnsWhatItsPromptHad) {
  const struct {
    const char* what;
    std::function<void()> stop;
    const char* decided;
  } kCases[] = {
      {"end", [&] { dispatcher_->End(1, 3); }, ""},
      {"refused", [&] { dispatcher_->Refused(1, now_); }, ""},  // by both of its groups
      {"deadline", [&] { Pass(60); }, "expire 1 from 1"},
      {"group lost", [&] { dispatcher_->RemoveGroup(1, now_); }, ""},
      {"prefill group lost", [&] { dispatcher_->RemoveGroup(2, now_); }, "start 1 on 1"},
      {"preempted", [&] { Submit(10, 150, 9); }, "preempt 1 from 1, start 2 on 1"},
  };
  for (const auto& [what, stop, decided] : kCases) {
    SCOPED_TRACE(what);
    Begin({.homeless_timeout = std::chrono::seconds(1000)});
    Join(1, {200}, 10, GroupRole::kDecode);
    Join(2, {200}, 10, GroupRole::kPrefill);
    Submit(100, 50, 0, 60);
    EXPECT_EQ(Decide(), "start 1 on 1 by 2");
    stop();
    EXPECT_EQ(Decide(), decided);
    EXPECT_FALSE(dispatcher_->Prefilled(1));
    if (std::string_view(what) == "prefill group lost") {
      EXPECT_EQ(Reserved(1), (Pages{150}));
      dispatcher_->RemoveGroup(1, now_);
      EXPECT_EQ(Decide(), "fail 1") << "either loss counts";
      continue;
    }
    EXPECT_EQ(Reserved(2), (Pages{0}));
    EXPECT_EQ(dispatcher_->group(2).running, 0);
    EXPECT_EQ(dispatcher_->group(2).prefill_tokens_left, 0);
  }
}

// Its last outputs may not have been told.
TEST_F(DispatcherTest, APromptThatRanBeforeHasRoomForAllThatItsOutputMayBe) {
  Join(1, {200}, 10, GroupRole::kDecode);
  Submit(100, 50);
  EXPECT_EQ(Decide(), "start 1 on 1");
  Tell(1, {{1, 100, 20}});
  Join(2, {150}, 10, GroupRole::kDecode);
  Join(3, {200}, 10, GroupRole::kPrefill);
  dispatcher_->RemoveGroup(1, now_);
  EXPECT_EQ(Decide(), "start 1 on 2 by 3");
  EXPECT_EQ(Reserved(3), (Pages{150}));
  EXPECT_EQ(dispatcher_->group(3).prefill_tokens_left, 120);
}

TEST_F(DispatcherTest, ARefusalIsOfBothGroupsBeforeTheirNextLoad) {
  Join(1, {200}, 10, GroupRole::kDecode);
  Join(2, {200}, 10, GroupRole::kDecode);
  Join(3, {200}, 10, GroupRole::kPrefill);
  Submit(100, 50);
  EXPECT_EQ(Decide(), "start 1 on 1 by 3");
  dispatcher_->Refused(1, now_);
  EXPECT_EQ(Decide(), "start 1 on 2");
  EXPECT_TRUE(Tell(3, {}));
  dispatcher_->Refused(1, now_);
  EXPECT_EQ(Decide(), "");
  EXPECT_TRUE(Tell(1, {}));
  EXPECT_EQ(Decide(), "start 1 on 1 by 3");
}

TEST_F(DispatcherTest, WhoOvertakesCountsTheHandoff) {
  Join(1, {300}, 10, GroupRole::kDecode);
  Join(2, {900}, 10, GroupRole::kPrefill);
  Submit(100, 20);
  EXPECT_EQ(Decide(), "start 1 on 1 by 2");
  dispatcher_->Prefilled(1);
  Submit(200, 100);  // room is kept for it in 2 s
  EXPECT_EQ(Decide(), "");
  Submit(100, 19);  // 0.15 + 1.9 s, and 0.1 + 1.9 s where it is computed there
  EXPECT_EQ(Decide(), "start 3 on 1");
  dispatcher_->End(3, 19);
  Submit(60, 18);
  EXPECT_EQ(Decide(), "start 4 on 1 by 2");
}

TEST_F(DispatcherTest, ALoadThatSaysNothingNewChangesNothing) {
  Join(1, {100});
  Submit(10, 10);
  Decide();
  EXPECT_FALSE(Tell(1, {}));
  EXPECT_TRUE(Tell(1, {{1, 4, 0}}));
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 6);
  EXPECT_FALSE(Tell(1, {{1, 4, 0}, {99, 5, 5}}));
  EXPECT_TRUE(Tell(1, {{1, 12, 3}}));
  EXPECT_EQ(dispatcher_->group(1).prefill_tokens_left, 0);
  // What no group can have measured counts as nothing.
  for (const double rate : {std::numeric_limits<double>::infinity(), -1.0, std::nan("")}) {
    dispatcher_->SetLoad(1, {rate, rate, {}});
    EXPECT_EQ(dispatcher_->group(1).measured.prefill_tokens_per_s, 0);
    EXPECT_EQ(dispatcher_->group(1).measured.decode_step_s, 0);
  }
}

TEST_F(DispatcherTest, TheExpectedWaitIsWhatThoseThatRunStillNeed) {
  Begin({.max_waiting = 2, .max_waiting_tokens = 100});
  Join(1, {100}, 2);
  Submit(10, 20);  // ends at 0.01 + 2 s
  Submit(20, 10);  // at 0.03 + 1 s
  EXPECT_EQ(Decide(), "start 1 on 1, start 2 on 1");
  EXPECT_EQ(dispatcher_->ExpectedWait(), 0);
  Submit(60, 5);
  EXPECT_EQ(dispatcher_->ExpectedWait(40), 0);
  // 30 pages are reserved for 1, which leaves room for 65 when 2 has ended.
  EXPECT_DOUBLE_EQ(dispatcher_->ExpectedWait(41), 1.03);
  Submit(40, 60);
  Decide();
  EXPECT_DOUBLE_EQ(dispatcher_->ExpectedWait(), 1.03);
  // Until both have started: 4 when all others have ended, of which 3 does last, at 1.03 + 0.06 + 0.5 s,
  // and 1.
  EXPECT_DOUBLE_EQ(dispatcher_->ExpectedWait(61), 2.01);
  // Halfway, and of late requests come to less than they may.
  Tell(1, {{1, 10, 10}, {2, 20, 5}});
  EXPECT_DOUBLE_EQ(dispatcher_->ExpectedWait(), 0.5);
}

}  // namespace
}  // namespace longspan
