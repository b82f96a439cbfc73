#include "comm/faulty_communicator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "comm/thread_communicator.h"
#include "tests/comm/streams.h"
#include "tests/comm/worlds.h"

namespace longspan {
namespace {

std::vector<std::unique_ptr<Communicator>> FaultyThreads(int ranks,
                                                         const FaultyCommunicatorOptions& options) {
  std::vector<std::unique_ptr<Communicator>> faulty;
  for (auto& communicator : CreateThreadCommunicators(ranks)) {
    faulty.push_back(CreateFaultyCommunicator(std::move(communicator), options));
  }
  return faulty;
}

// Whether each of `count` barriers failed.
std::vector<bool> FailuresOf(Communicator& communicator, int count) {
  const std::unique_ptr<Stream> stream = NewStream(StreamKind::kInline, communicator.rank());
  std::vector<bool> failures;
  for (int i = 0; i < count; ++i) failures.push_back(!communicator.Barrier(*stream).ok());
  EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
  return failures;
}

TEST(FaultyCommunicatorTest, FailsTheChosenOperationAlone) {
  RunOnThreads(FaultyThreads(3, {.seed = 42, .fail_operation = 2}), [](Communicator& comm) {
    const std::unique_ptr<Stream> stream = NewStream(StreamKind::kDeferred, comm.rank());
    const int own = comm.rank();
    std::vector<int> all(3, -1);
    const std::vector<size_t> sizes(3, sizeof(int));
    EXPECT_EQ(comm.Barrier(*stream), absl::OkStatus());
    const absl::Status status = comm.AllGather(&own, sizes, all.data(), *stream);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(status.message(),
              absl::StrCat("rank ", comm.rank(), ": operation 2 (all-gather) fails on purpose (seed 42)"));
    // The wrapped communicator has not seen it.
    EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
    EXPECT_EQ(all, std::vector<int>(3, -1));
    EXPECT_EQ(comm.counters().TotalOperations(), 1u);

    EXPECT_EQ(comm.AllGather(&own, sizes, all.data(), *stream), absl::OkStatus());
    EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
    EXPECT_EQ(all, (std::vector<int>{0, 1, 2}));
  });
}

TEST(FaultyCommunicatorTest, EveryOperationCanFail) {
  const auto communicators = FaultyThreads(1, {.fail_probability = 1});
  Communicator& comm = *communicators[0];
  const std::unique_ptr<Stream> stream = NewStream(StreamKind::kInline, 0);
  const std::vector<size_t> sizes(1, 0);
  const std::vector<std::pair<std::string, absl::Status>> failed = {
      {"1 (all-gather)", comm.AllGather(nullptr, sizes, nullptr, *stream)},
      {"2 (all-to-all)", comm.AllToAll(nullptr, sizes, nullptr, sizes, *stream)},
      {"3 (gather)", comm.Gather(nullptr, sizes, nullptr, 0, *stream)},
      {"4 (broadcast)", comm.Broadcast(nullptr, 0, 0, *stream)},
      {"5 (barrier)", comm.Barrier(*stream)},
  };
  for (const auto& [operation, status] : failed) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(std::string(status.message()).find("operation " + operation), std::string::npos) << status;
  }
}

TEST(FaultyCommunicatorTest, RanksFailTogetherAndASeedRepeats) {
  constexpr int kOperations = 400;
  const auto failures_by_rank = [](uint64_t seed) {
    std::mutex mutex;
    std::vector<std::vector<bool>> by_rank(2);
    RunOnThreads(FaultyThreads(2, {.seed = seed, .fail_probability = 0.25}), [&](Communicator& comm) {
      std::vector<bool> failures = FailuresOf(comm, kOperations);
      std::lock_guard lock(mutex);
      by_rank[static_cast<size_t>(comm.rank())] = std::move(failures);
    });
    EXPECT_EQ(by_rank[0], by_rank[1]);
    return by_rank[0];
  };
  const std::vector<bool> failures = failures_by_rank(1);
  const auto count = std::count(failures.begin(), failures.end(), true);
  EXPECT_GT(count, kOperations / 8);
  EXPECT_LT(count, kOperations / 2);
  EXPECT_EQ(failures_by_rank(1), failures);
  EXPECT_NE(failures_by_rank(2), failures);
}

TEST(FaultyCommunicatorTest, WhatIsSplitOffFailsToo) {
  RunOnThreads(FaultyThreads(2, {.fail_operation = 2}), [](Communicator& comm) {
    absl::StatusOr<std::unique_ptr<Communicator>> child = comm.Split(0, comm.rank());
    EXPECT_TRUE(child.ok());
    if (child.ok()) {
      EXPECT_EQ(FailuresOf(**child, 3), (std::vector<bool>{false, true, false}));
    }
    EXPECT_EQ(FailuresOf(comm, 3), (std::vector<bool>{false, true, false}));
  });
}

// 40 delays of 1 ms on average; the seed fixes them.
TEST(FaultyCommunicatorTest, DelaysTheWorkOfTheStream) {
  const auto communicators = FaultyThreads(1, {.seed = 3, .max_delay = std::chrono::milliseconds(2)});
  const std::unique_ptr<Stream> stream = NewStream(StreamKind::kDeferred, 0);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(communicators[0]->Barrier(*stream), absl::OkStatus());
  EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
  EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace longspan
