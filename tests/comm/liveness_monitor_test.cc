#include "comm/liveness_monitor.h"

#include <gtest/gtest.h>

#include <string>

namespace longspan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

testing::AssertionResult Says(const std::optional<Loss>& loss, const std::string& part) {
  if (!loss) return testing::AssertionFailure() << "no loss";
  const std::string message(loss->status.message());
  if (message.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << message << "' lacks '" << part << "'";
}

// Rank 0 watches ranks 0 to 3.
class LivenessMonitorTest : public testing::Test {
 protected:
  static constexpr Clock::Duration kInterval = milliseconds(500);

  // Everybody beats, but for the rank `but`, until the time is over or there is a loss.
  std::optional<Loss> Pass(Clock::Duration time, int but = -1) {
    for (Clock::Duration passed{}; passed < time; passed += kInterval) {
      clock_.Advance(kInterval);
      for (int rank = 0; rank < 4; ++rank) {
        if (rank != but) monitor_.Heard(rank, records_[rank].Read(), clock_.Now());
      }
      if (std::optional<Loss> loss = monitor_.Check(clock_.Now())) return loss;
    }
    return std::nullopt;
  }
  std::string Message(const std::optional<Loss>& loss) {
    return loss ? std::string(loss->status.message()) : "no loss";
  }

  ManualClock clock_;
  ProgressRecord records_[4];
  LivenessMonitor monitor_{
      0, {{1, "alpha", 101}, {2, "beta", 202}, {3, "beta", 203}, {0, "alpha", 100}}, {}, clock_.Now()};
};

TEST_F(LivenessMonitorTest, IdleRanksMayStayIdle) {
  for (ProgressRecord& record : records_) record.Rest("waiting for a batch");
  EXPECT_EQ(Message(Pass(std::chrono::hours(1))), "no loss");
}

TEST_F(LivenessMonitorTest, NamesASilentRank) {
  records_[2].BeginStep("planning");
  records_[2].EnterLayer(7);
  records_[2].Enter("all-to-all over kvp");
  ASSERT_EQ(Message(Pass(seconds(1))), "no loss");
  EXPECT_EQ(Message(Pass(milliseconds(3500), /*but=*/2)), "no loss");
  const std::optional<Loss> loss = Pass(seconds(2), /*but=*/2);
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->rank, 2);
  EXPECT_TRUE(absl::IsUnavailable(loss->status));
  EXPECT_TRUE(Says(loss, "lost rank 2 on beta (process 202): no sign of life"));
  EXPECT_TRUE(Says(loss, "ago in step 1, layer 7: all-to-all over kvp"));
}

TEST_F(LivenessMonitorTest, WaitsForTheBestExplanation) {
  monitor_.Failed(1, absl::InternalError("rank 3 has ended"), clock_.Now());
  EXPECT_TRUE(monitor_.suspects());
  EXPECT_FALSE(monitor_.Check(clock_.Now()));
  monitor_.Closed(3, clock_.Now());
  clock_.Advance(milliseconds(99));
  EXPECT_FALSE(monitor_.Check(clock_.Now()));
  clock_.Advance(milliseconds(1));
  const std::optional<Loss> loss = monitor_.Check(clock_.Now());
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->rank, 3);
  EXPECT_TRUE(Says(loss, "rank 3 on beta (process 203): its process has ended"));
  EXPECT_FALSE(Says(loss, "stood still"));
}

TEST_F(LivenessMonitorTest, PassesFailuresOn) {
  monitor_.Failed(1, absl::InternalError("no memory left"), clock_.Now());
  const std::optional<Loss> loss = Pass(seconds(1));
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->rank, 1);
  EXPECT_EQ(loss->status, absl::InternalError("rank 1 on alpha (process 101): no memory left"));

  LivenessMonitor own(0, {{1, "alpha", 101}, {0, "alpha", 100}}, {}, clock_.Now());
  own.Failed(0, absl::InternalError("no memory left"), clock_.Now());
  clock_.Advance(milliseconds(100));
  EXPECT_EQ(own.Check(clock_.Now())->status, absl::InternalError("no memory left"));
}

TEST_F(LivenessMonitorTest, WhoHasLeftIsNotMissed) {
  monitor_.Left(2);
  monitor_.Closed(2, clock_.Now());
  EXPECT_EQ(Message(Pass(seconds(60), /*but=*/2)), "no loss");
  EXPECT_FALSE(monitor_.AllLeft());
  monitor_.Left(1);
  monitor_.Left(3);
  EXPECT_TRUE(monitor_.AllLeft());
}

// Other ranks spoke while this one was stopped: it has not read it yet, or they wait for it.
TEST_F(LivenessMonitorTest, DoesNotHoldItsOwnStallAgainstOthers) {
  ASSERT_EQ(Message(Pass(seconds(1))), "no loss");
  clock_.Advance(seconds(30));
  EXPECT_FALSE(monitor_.Check(clock_.Now()));
  EXPECT_EQ(Message(Pass(milliseconds(3000), /*but=*/1)), "no loss");
  EXPECT_EQ(Pass(seconds(2), /*but=*/1).value_or(Loss{}).rank, 1);
}

TEST_F(LivenessMonitorTest, SaysThatItStoodStill) {
  clock_.Advance(seconds(30));
  monitor_.Closed(1, clock_.Now());
  EXPECT_FALSE(monitor_.Check(clock_.Now()));
  clock_.Advance(milliseconds(100));
  EXPECT_TRUE(Says(monitor_.Check(clock_.Now()), "rank 0, which says so, had stood still itself for 30.0 s"));
}

// All wait for rank 3, which came to another operation last.
TEST_F(LivenessMonitorTest, NamesTheRankThatHangs) {
  for (ProgressRecord& record : records_) {
    record.BeginStep("planning");
    record.Enter("attention");
  }
  for (int rank : {0, 1, 2}) records_[rank].Enter("all-reduce");
  ASSERT_EQ(Message(Pass(seconds(7))), "no loss");
  const std::optional<Loss> loss = Pass(seconds(1));
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->rank, 3);
  EXPECT_TRUE(Says(loss, "rank 3 on beta (process 203) hangs in step 1: attention"));
}

// Operations that have taken long may take longer, as the context grows.
TEST_F(LivenessMonitorTest, ASlowOperationIsNoneThatHangs) {
  for (ProgressRecord& record : records_) record.BeginStep("planning");
  for (const int s : {1, 4, 7, 25, 90, 100}) {
    for (ProgressRecord& record : records_) record.Enter("attention");
    ASSERT_EQ(Message(Pass(seconds(s))), "no loss") << s;
  }
  for (ProgressRecord& record : records_) record.Enter("attention");
  ASSERT_EQ(Message(Pass(seconds(119))), "no loss");
  EXPECT_TRUE(
      Says(Pass(seconds(2)),
           "one of rank 1 on alpha (process 101), rank 2 on beta (process 202), rank 3 on beta (process "
           "203), rank 0 on alpha (process 100) hangs in step 1: attention"));
}

// Time that passes between steps says nothing of operations.
TEST_F(LivenessMonitorTest, RestIsNoSlowOperation) {
  for (ProgressRecord& record : records_) record.Rest("waiting for a batch");
  ASSERT_EQ(Message(Pass(seconds(600))), "no loss");
  for (ProgressRecord& record : records_) record.BeginStep("planning");
  ASSERT_EQ(Message(Pass(seconds(7))), "no loss");
  EXPECT_TRUE(Says(Pass(seconds(1)), "hangs in step 1: planning"));
}

TEST_F(LivenessMonitorTest, RanksMayWaitForOneThatMakesProgress) {
  constexpr int kLayers = 10;
  for (int rank : {0, 2, 3}) {
    for (int layer = 0; layer < kLayers; ++layer) records_[rank].Load("weights", layer / 10.0);
    records_[rank].Load("waiting for all ranks", 1);
  }
  for (int layer = 0; layer < kLayers; ++layer) {
    records_[1].Load("weights", layer / 10.0);
    ASSERT_EQ(Message(Pass(seconds(300))), "no loss");
  }
  EXPECT_TRUE(Says(Pass(seconds(900)), "rank 1 on alpha (process 101) hangs in weights, 90 % loaded"));
}

TEST_F(LivenessMonitorTest, RanksBetweenStepsDoNotHang) {
  for (ProgressRecord& record : records_) record.Rest("waiting for a batch");
  records_[0].BeginStep("planning");
  ASSERT_EQ(Message(Pass(seconds(7))), "no loss");
  records_[0].Rest("between steps");
  EXPECT_EQ(Message(Pass(seconds(1000))), "no loss");
}

TEST(ProgressRecordTest, TellsWhereARankIs) {
  ProgressRecord record;
  EXPECT_EQ(record.Read().ToString(), "starting");
  record.Load("weights", 0.355);
  EXPECT_EQ(record.Read().ToString(), "weights, 35 % loaded");
  record.Rest("waiting for a batch");
  EXPECT_EQ(record.Read().ToString(), "waiting for a batch");
  record.BeginStep("planning");
  record.BeginStep("planning");
  EXPECT_EQ(record.Read().ToString(), "step 2: planning");
  record.EnterLayer(0);
  record.Enter("feed-forward");
  EXPECT_EQ(record.Read().ToString(), "step 2, layer 0: feed-forward");
  const Activity before = record.Read();
  record.Enter("feed-forward");
  EXPECT_NE(record.Read(), before);
  record.LeaveLayers();
  record.Enter("logits");
  EXPECT_EQ(record.Read().ToString(), "step 2: logits");
  record.Rest("an operation whose name is longer than what a heartbeat has room for");
  EXPECT_EQ(record.Read().ToString(),
            "an operation whose name is longer than what a heartbeat, after step 2");
}

}  // namespace
}  // namespace longspan
