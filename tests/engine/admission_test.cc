#include "runtime/engine/admission.h"

#include <memory>

#include "gtest/gtest.h"
#include "runtime/engine/expected_wait.h"
#include "runtime/engine/waiting_queue.h"

namespace longspan {
namespace {

using std::chrono::seconds;

Reservations TwoRanks(int64_t pages) {
  return Reservations({.block_size = 4, .kvp = 2, .groups = {{}}, .pages_per_rank = {pages, pages}});
}

TEST(AdmissionTest, NeedsASlotAndTheWholeDemand) {
  Reservations store = TwoRanks(2);
  EXPECT_EQ(Admit({12, 4}, store, 1), 0);
  EXPECT_EQ(Admit({12, 4}, store, 0), std::nullopt);
  EXPECT_EQ(Admit({17, 4}, store, 1), std::nullopt);
  store.Reserve({12, 4}, 0);  // two blocks on rank 0, one on rank 1
  EXPECT_EQ(Admit({5, 4}, store, 1), std::nullopt);
  EXPECT_EQ(Admit({4, 4}, store, 1), 1);
}

TEST(AdmissionTest, VictimsAreTheLeastThatMakeRoom) {
  Reservations store = TwoRanks(5);
  std::vector<std::vector<int64_t>> pages;
  for (const int64_t total : {8, 16, 16}) pages.push_back(store.Reserve({total, 4}, 0));  // 1, 2, 2 a rank
  const std::vector<VictimView> running = {{0, 5, pages[0]}, {0, 9, pages[1]}, {1, 1, pages[2]}};
  EXPECT_EQ(Admit({16, 4}, store, 1), std::nullopt);
  // The first in line would not do, and need not go when the next one does.
  EXPECT_EQ(ChooseVictims(1, {16, 4}, store, 1, running), (std::vector<size_t>{1}));
  EXPECT_EQ(ChooseVictims(2, {32, 4}, store, 1, running), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(ChooseVictims(2, {40, 4}, store, 1, running), (std::vector<size_t>{0, 1, 2}));
  // A slot alone: whoever loses least.
  EXPECT_EQ(ChooseVictims(2, {4, 4}, store, 0, running), (std::vector<size_t>{0}));
  // Equals are left alone.
  EXPECT_TRUE(ChooseVictims(0, {16, 4}, store, 1, running).empty());
  EXPECT_TRUE(ChooseVictims(1, {32, 4}, store, 1, running).empty());
}

TEST(AdmissionTest, WaitingAndPreemptionRaiseThePriority) {
  EXPECT_EQ(AgedPriority(-3, seconds(0), 0), -3);
  EXPECT_EQ(AgedPriority(2, kAgeingInterval - seconds(1), 0), 2);
  EXPECT_EQ(AgedPriority(2, 4 * kAgeingInterval, 3), 9);
}

class WaitingQueueTest : public testing::Test {
 protected:
  void Push(RequestId id, int priority, Clock::Time now) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = id;
    sequence->priority = priority;
    sequence->prompt_tokens = 10;
    queue_.Push(std::move(sequence), now);
  }
  std::vector<RequestId> Order(Clock::Time now, size_t at_most = 100) {
    std::vector<RequestId> ids;
    for (const Sequence* sequence : queue_.Order(now, at_most)) ids.push_back(sequence->id);
    return ids;
  }
  WaitingQueue queue_;
};

TEST_F(WaitingQueueTest, GoesByPriorityThenByArrival) {
  const Clock::Time now;
  Push(1, 0, now);
  Push(2, 5, now);
  Push(4, 0, now);
  Push(5, 5, now);
  Push(6, -1, now);
  Push(3, 0, now);  // was preempted, and gets its old place
  EXPECT_EQ(Order(now), (std::vector<RequestId>{2, 5, 1, 3, 4, 6}));
  EXPECT_EQ(Order(now, 3), (std::vector<RequestId>{2, 5, 1}));
  EXPECT_EQ(queue_.prompt_tokens(), 60);
  EXPECT_EQ(queue_.Take(7), nullptr);
  EXPECT_EQ(queue_.Take(5)->id, 5);
  EXPECT_EQ(queue_.Take(5), nullptr);
  EXPECT_EQ(queue_.Take(2)->id, 2);
  EXPECT_EQ(Order(now), (std::vector<RequestId>{1, 3, 4, 6}));
  EXPECT_EQ(queue_.size(), 4u);
  EXPECT_EQ(queue_.prompt_tokens(), 40);
}

TEST_F(WaitingQueueTest, WhoWaitsLongComesFirstInTheEnd) {
  const Clock::Time begin;
  Push(1, 0, begin);
  Push(2, 2, begin + 2 * kAgeingInterval);
  EXPECT_EQ(Order(begin + 2 * kAgeingInterval), (std::vector<RequestId>{2, 1}));
  queue_.Take(2);
  Push(3, 2, begin + 3 * kAgeingInterval);
  EXPECT_EQ(Order(begin + 3 * kAgeingInterval), (std::vector<RequestId>{1, 3}));
}

// When the last of `waiting` starts.
double ExpectedStart(std::span<const RemainingWork> running, std::span<const RemainingWork> waiting,
                     FreeCapacity free, const ServiceRates& rates) {
  Forecast forecast(running, free, rates);
  double last_s = 0;
  for (const RemainingWork& work : waiting) last_s = forecast.Start(work);
  return last_s;
}

TEST(ForecastTest, FollowsWhatEndsWhen) {
  const ServiceRates rates = {.prefill_tokens_per_s = 100, .decode_step_s = 0.1};
  const std::vector<RemainingWork> running = {{.output_tokens = 50, .pages = 4},   // ends at 5 s
                                              {.output_tokens = 20, .pages = 4}};  // at 2 s
  const auto start = [&](std::vector<RemainingWork> waiting, FreeCapacity free) {
    return ExpectedStart(running, waiting, free, rates);
  };
  EXPECT_DOUBLE_EQ(start({}, {0, 0}), 0);
  EXPECT_DOUBLE_EQ(start({{.pages = 2}}, {1, 2}), 0);
  EXPECT_DOUBLE_EQ(start({{.pages = 2}}, {0, 9}), 2);
  EXPECT_DOUBLE_EQ(start({{.pages = 6}}, {5, 0}), 5);
  // The first takes the place at 2 s, computes its prompt until 3 s and ends at 4 s; then comes the second.
  const RemainingWork work = {.prefill_tokens = 100, .output_tokens = 10, .pages = 4};
  EXPECT_DOUBLE_EQ(start({work, work}, {0, 0}), 4);
  // Prompts are computed one after the other.
  EXPECT_DOUBLE_EQ(ExpectedStart(std::vector{work, work}, std::vector{work, work}, {0, 0}, rates), 3);
}

}  // namespace
}  // namespace longspan
