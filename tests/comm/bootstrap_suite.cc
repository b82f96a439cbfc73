// What every bootstrap promises (comm/bootstrap.h).
#include <gtest/gtest.h>
#include <time.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/comm/worlds.h"

namespace longspan {
namespace {

constexpr size_t kLongBlobBytes = 10'000'000;

// `rank`'s blob: no two ranks have the same, unless it is empty.
std::string Blob(int rank, size_t bytes) {
  std::string blob(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) blob[i] = static_cast<char>((static_cast<size_t>(rank) * 31 + i) % 251);
  return blob;
}

// Of the calling thread.
std::chrono::nanoseconds CpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

class BootstrapSuite : public testing::TestWithParam<World<Bootstrap>> {};

TEST_P(BootstrapSuite, EveryRankKnowsItsPlace) {
  GetParam().run([](Bootstrap& bootstrap) {
    EXPECT_FALSE(bootstrap.host().empty());
    const absl::StatusOr<std::vector<std::string>> ranks =
        bootstrap.AllGather(absl::StrCat(bootstrap.rank()));
    EXPECT_TRUE(ranks.ok());
    if (!ranks.ok()) return;
    EXPECT_EQ(ranks->size(), static_cast<size_t>(bootstrap.size()));
    for (size_t r = 0; r < ranks->size(); ++r) EXPECT_EQ((*ranks)[r], absl::StrCat(r));
  });
}

TEST_P(BootstrapSuite, BroadcastsBlobsOfAnyLength) {
  GetParam().run([](Bootstrap& bootstrap) {
    for (int root = 0; root < bootstrap.size(); ++root) {
      for (const size_t bytes : {size_t{0}, size_t{1}, size_t{5'000}, kLongBlobBytes}) {
        std::string blob = bootstrap.rank() == root ? Blob(root, bytes) : "an earlier one";
        EXPECT_EQ(bootstrap.Broadcast(&blob, root), absl::OkStatus());
        EXPECT_TRUE(blob == Blob(root, bytes)) << "root " << root << ", " << bytes << " bytes";
      }
    }
  });
}

TEST_P(BootstrapSuite, AllGathersBlobsOfAnyLength) {
  GetParam().run([](Bootstrap& bootstrap) {
    const auto bytes_of = [&](int rank) {
      return rank == bootstrap.size() - 1 ? kLongBlobBytes : static_cast<size_t>(rank * 3);
    };
    const absl::StatusOr<std::vector<std::string>> blobs =
        bootstrap.AllGather(Blob(bootstrap.rank(), bytes_of(bootstrap.rank())));
    EXPECT_TRUE(blobs.ok());
    if (!blobs.ok()) return;
    for (int r = 0; r < bootstrap.size(); ++r) {
      EXPECT_TRUE((*blobs)[static_cast<size_t>(r)] == Blob(r, bytes_of(r))) << "rank " << r;
    }
  });
}

// The root runs ahead of the others, and its blobs still arrive one for each call, in order.
TEST_P(BootstrapSuite, ManyBroadcastsStayInOrder) {
  GetParam().run([](Bootstrap& bootstrap) {
    for (int step = 0; step < 300; ++step) {
      const std::string expected =
          absl::StrCat("step ", step, std::string(static_cast<size_t>(step * 20), 'x'));
      std::string blob = bootstrap.rank() == 0 ? expected : "";
      EXPECT_EQ(bootstrap.Broadcast(&blob, 0), absl::OkStatus());
      EXPECT_EQ(blob, expected);
    }
  });
}

// The monotonic clock is the same for all ranks of a machine.
TEST_P(BootstrapSuite, BarrierWaitsForTheLast) {
  GetParam().run([](Bootstrap& bootstrap) {
    const auto now_ns = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
    if (bootstrap.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::string last_came = absl::StrCat(now_ns());
    EXPECT_EQ(bootstrap.Barrier(), absl::OkStatus());
    const int64_t left_ns = now_ns();
    EXPECT_EQ(bootstrap.Broadcast(&last_came, 0), absl::OkStatus());
    EXPECT_GE(left_ns, std::stoll(last_came));
  });
}

TEST_P(BootstrapSuite, WaitingForALongTimeCostsLittle) {
  constexpr std::chrono::milliseconds kWait(400);
  GetParam().run([&](Bootstrap& bootstrap) {
    EXPECT_EQ(bootstrap.Barrier(), absl::OkStatus());
    std::string blob = "the next step";
    if (bootstrap.rank() == 0) std::this_thread::sleep_for(kWait);
    const std::chrono::nanoseconds before = CpuTime();
    EXPECT_EQ(bootstrap.Broadcast(&blob, 0), absl::OkStatus());
    EXPECT_LT(CpuTime() - before, kWait / 4);
  });
}

INSTANTIATE_TEST_SUITE_P(All, BootstrapSuite, testing::ValuesIn(BootstrapWorlds()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace longspan
