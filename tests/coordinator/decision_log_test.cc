#include "runtime/coordinator/decision_log.h"

#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace longspan {
namespace {

class DecisionLogTest : public testing::Test {
 protected:
  DecisionLogTest()
      : dispatcher_({.max_waiting = 1}, clock_,
                    [this](std::string_view line) { lines_.emplace_back(line); }) {
    GroupDescription group;
    group.name = "a \"group\"\n\xff";
    group.geometry = {.block_size = 1, .kvp = 2, .groups = {{.window = 8}}, .pages_per_rank = {20, 30}};
    group.max_sequences = 1;
    group.max_context = 30;
    group.chunk_tokens = group.prompt_logits_chunk = 4;
    dispatcher_.AddGroup(1, group);
    dispatcher_.AddGroup(2, group);
    clock_.Advance(std::chrono::nanoseconds(1'234'567'891));
  }
  TicketId Submit(int64_t prompt_tokens, int64_t max_tokens) {
    Demand demand;
    demand.prompt_tokens = prompt_tokens;
    demand.max_tokens = max_tokens;
    demand.deadline = clock_.Now() + std::chrono::seconds(100);
    return dispatcher_.Submit(demand).value_or(0);
  }
  // Something of every call.
  void MakeCalls() {
    dispatcher_.SetLoad(1, {0.1, std::numeric_limits<double>::infinity(), {}});
    Submit(5, 5);
    Submit(5, 5);
    dispatcher_.Decide();
    Submit(5, 5);
    Submit(50, 5);
    dispatcher_.SetLoad(1, {1000.0 / 3, 0.1, {{1, 3, 0}}});
    dispatcher_.Decide();
    dispatcher_.Refused(1);
    dispatcher_.DrainGroup(1);
    dispatcher_.Decide();
    dispatcher_.RemoveGroup(2);
    dispatcher_.Decide();
    dispatcher_.End(2, 3);
    dispatcher_.End(1, std::nullopt);
  }
  void JoinPrefillGroup() {
    GroupDescription group;
    group.name = "prompts";
    group.role = GroupRole::kPrefill;
    group.geometry = {.block_size = 1, .kvp = 2, .groups = {{}}, .pages_per_rank = {19, 20}};
    group.max_sequences = 4;
    group.max_context = 30;
    group.chunk_tokens = group.prompt_logits_chunk = 4;
    dispatcher_.AddGroup(3, group);
    for (const GroupId id : {1, 2, 3}) dispatcher_.SetLoad(id, {id == 3 ? 1e5 : 10, 0.1, {}});
  }
  absl::Status ReplayLines() const {
    std::istringstream log(absl::StrJoin(lines_, "\n"));
    return Replay(log);
  }

  ManualClock clock_;
  std::vector<std::string> lines_;
  LoggedDispatcher dispatcher_;
};

TEST_F(DecisionLogTest, HasALineForEachCall) {
  EXPECT_TRUE(absl::StartsWith(lines_.at(0), R"({"t":0,"call":"options",)")) << lines_[0];
  lines_.clear();
  Submit(5, 2);
  dispatcher_.Decide();
  dispatcher_.End(1, 2);
  EXPECT_EQ(
      absl::StrJoin(lines_, "\n"),
      R"({"t":1234567891,"call":"submit","prompt_tokens":5,"max_tokens":2,"prompt_logits":false,"priority":0,"deadline":101234567891,"ticket":1})"
      "\n"
      R"({"t":1234567891,"call":"decide","decisions":[{"kind":"start","ticket":1,"group":1,"shift":1,"reason":"first token expected in 0.005 s, 100 % full afterwards"}]})"
      "\n"
      R"({"t":1234567891,"call":"end","ticket":1,"output_tokens":2})");
}

TEST_F(DecisionLogTest, SaysWhereAPromptIsComputedAndWhenItHasArrived) {
  JoinPrefillGroup();
  const size_t begin = lines_.size();
  Submit(16, 2);
  dispatcher_.Decide();
  dispatcher_.Prefilled(1);
  dispatcher_.Prefilled(1);
  dispatcher_.Prefilled(7);
  dispatcher_.End(1, 2);
  EXPECT_EQ(
      absl::StrJoin(lines_.begin() + static_cast<std::ptrdiff_t>(begin) + 1, lines_.end(), "\n"),
      R"({"t":1234567891,"call":"decide","decisions":[{"kind":"start","ticket":1,"group":1,"shift":0,"prefill_group":3,"prefill_shift":1,"reason":"first token expected in 0.050 s, 100 % full afterwards, its prompt comes from group 3"}]})"
      "\n"
      R"({"t":1234567891,"call":"prefilled","ticket":1})"
      "\n"
      R"({"t":1234567891,"call":"end","ticket":1,"output_tokens":2})");
  EXPECT_EQ(ReplayLines(), absl::OkStatus());
  lines_.erase(lines_.end() - 2);
  lines_.insert(lines_.end() - 2, lines_.back());
  EXPECT_TRUE(absl::IsDataLoss(ReplayLines())) << "ends before it is decided";
}

TEST_F(DecisionLogTest, WhatChangesNothingIsNotLogged) {
  Submit(5, 2);
  dispatcher_.Decide();
  dispatcher_.SetLoad(1, {100, 0.1, {{1, 3, 0}}});
  dispatcher_.DrainGroup(2);
  dispatcher_.Decide();
  lines_.clear();
  dispatcher_.Decide();
  dispatcher_.SetLoad(1, {100, 0.1, {{1, 3, 0}}});
  dispatcher_.DrainGroup(2);
  dispatcher_.End(7, 1);
  dispatcher_.Refused(7);
  EXPECT_EQ(absl::StrJoin(lines_, "\n"), "");
}

TEST_F(DecisionLogTest, ReplaysToTheSameLines) {
  MakeCalls();
  EXPECT_GE(lines_.size(), 15u);
  EXPECT_EQ(ReplayLines(), absl::OkStatus()) << absl::StrJoin(lines_, "\n");
}

TEST_F(DecisionLogTest, NamesTheFirstLineThatDiffers) {
  MakeCalls();
  const std::vector<std::string> lines = lines_;
  int differ = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"\"shift\":0", "\"shift\":1"}, {"\"ticket\":1", "\"ticket\":3"}, {"full", "empty"}}) {
      lines_ = lines;
      lines_[i] = absl::StrReplaceAll(lines[i], {{from, to}});
      if (lines_[i] == lines[i] || absl::StrContains(lines[i], "\"load\"")) continue;
      const absl::Status status = ReplayLines();
      EXPECT_TRUE(absl::IsDataLoss(status)) << lines_[i] << "\n" << status;
      EXPECT_TRUE(absl::StartsWith(status.message(), absl::StrCat("line ", i + 1, ": "))) << status;
      ++differ;
    }
  }
  EXPECT_GE(differ, 6);
}

TEST_F(DecisionLogTest, SaysWhatIsNoLog) {
  const std::string options = lines_[0], group = lines_[1];
  const struct {
    std::vector<std::string> lines;
    const char* error;
  } kCases[] = {
      {{}, "an empty decision log"},
      {{group}, "line 1: 'options' is the first call"},
      {{options, options}, "line 2: 'options' is the first call"},
      {{options, group, group}, "line 3: group 1 has joined before"},
      {{options, R"({"t":0,"call":"remove_group","group":1})"}, "line 2: group 1 is unknown"},
      {{options, group, R"({"t":0,"call":"greet","group":1})"}, "line 3: a call 'greet'"},
      {{options, group, group.substr(0, 50)}, "line 3: is no line of a decision log"},
      {{options, R"({"t":"now","call":"decide"})"}, "line 2: is no line of a decision log"},
      {{options, "[]"}, "line 2: is no line of a decision log"},
      {{absl::StrReplaceAll(options, {{"\"version\":1", "\"version\":2"}})}, "line 1: a log of version 2"},
      {{options, absl::StrReplaceAll(group, {{"mixed", "odd"}})}, "line 2: a role 'odd'"},
      {{options, absl::StrReplaceAll(group, {{"\"block_size\":1", "\"block_size\":0"}})}, "line 2: KV store"},
      {{options, absl::StrReplaceAll(group, {{"\"chunk_tokens\":4", "\"chunk_tokens\":0"}})},
       "line 2: length"},
      {{options,
        R"({"t":0,"call":"submit","prompt_tokens":0,"max_tokens":2,"prompt_logits":false,"priority":0})"},
       "line 2: a length that no request has"},
  };
  for (const auto& [lines, error] : kCases) {
    lines_ = lines;
    const absl::Status status = ReplayLines();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << error << "\n" << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), error)) << status;
  }
}

}  // namespace
}  // namespace longspan
