// The sum over ranks is the tree that comm/ordered_all_reduce.h promises, bit for bit, and costs the bytes it
// says.
#include "comm/ordered_all_reduce.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <tuple>

#include "tests/comm/launched_sum_backend.h"
#include "tests/comm/streams.h"
#include "tests/comm/worlds.h"
#include "tests/support/same_bits.h"

namespace longspan {
namespace {

// More than two ranks gather whole.
constexpr int64_t kMostElements = OrderedAllReduce::kMostGatheredElements + 1;

// One rank's addends: of such different magnitudes that the order of additions shows.
std::vector<float> Addends(int rank, int64_t elements) {
  std::mt19937 random(static_cast<uint32_t>(rank + 1));
  std::vector<float> addends;
  for (int64_t i = 0; i < elements; ++i) {
    const float mantissa = static_cast<float>(random() % 20'001) / 10'000.0f - 1.0f;
    addends.push_back(std::ldexp(mantissa, static_cast<int>(random() % 12)));
  }
  return addends;
}

// The tree over neighbours: the left subtree is the largest complete one.
float TreeSum(const std::vector<std::vector<float>>& by_rank, size_t element, size_t begin, size_t end) {
  if (end - begin == 1) return by_rank[begin][element];
  const size_t middle = begin + std::bit_floor(end - begin - 1);
  return TreeSum(by_rank, element, begin, middle) + TreeSum(by_rank, element, middle, end);
}

std::vector<float> ExpectedSum(int ranks, int64_t elements) {
  std::vector<std::vector<float>> by_rank;
  for (int r = 0; r < ranks; ++r) by_rank.push_back(Addends(r, elements));
  std::vector<float> sum;
  for (size_t i = 0; i < static_cast<size_t>(elements); ++i) {
    sum.push_back(TreeSum(by_rank, i, 0, by_rank.size()));
  }
  return sum;
}

class OrderedAllReduceSuite : public testing::TestWithParam<std::tuple<World<Communicator>, StreamKind>> {};

TEST_P(OrderedAllReduceSuite, EqualsTheTreeBitForBit) {
  std::get<0>(GetParam()).run([](Communicator& comm) {
    const std::unique_ptr<Stream> stream = NewStream(std::get<1>(GetParam()), comm.rank());
    LaunchedSumBackend backend;
    auto all_reduce = OrderedAllReduce::Create(comm, backend, kMostElements);
    EXPECT_TRUE(all_reduce.ok());
    if (!all_reduce.ok()) return;
    for (const int64_t elements :
         {int64_t{1}, int64_t{7}, int64_t{640}, kMostElements, int64_t{0}, int64_t{7}}) {
      std::vector<float> data = Addends(comm.rank(), elements);
      EXPECT_EQ((*all_reduce)->Run(*stream, data.data(), elements), absl::OkStatus());
      EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
      EXPECT_TRUE(SameBits(data, ExpectedSum(comm.size(), elements))) << elements << " elements";
    }
  });
}

// Otherwise the test above would accept any order.
TEST(OrderedAllReduceOracle, OrderShows) {
  for (const int ranks : {4, 8}) {
    std::vector<float> serial = Addends(0, 1001);
    for (int r = 1; r < ranks; ++r) {
      const std::vector<float> addends = Addends(r, 1001);
      for (size_t i = 0; i < serial.size(); ++i) serial[i] += addends[i];
    }
    EXPECT_FALSE(SameBits(serial, ExpectedSum(ranks, 1001)));
  }
}

TEST_P(OrderedAllReduceSuite, SendsTheBytesOfItsRanges) {
  std::get<0>(GetParam()).run([](Communicator& comm) {
    const std::unique_ptr<Stream> stream = NewStream(std::get<1>(GetParam()), comm.rank());
    LaunchedSumBackend backend;
    auto all_reduce = OrderedAllReduce::Create(comm, backend, kMostElements);
    EXPECT_TRUE(all_reduce.ok());
    if (!all_reduce.ok()) return;
    std::vector<float> data(static_cast<size_t>(kMostElements), 1.0f);
    const int64_t size = comm.size(), rank = comm.rank();
    for (const int64_t elements : {int64_t{1001}, kMostElements}) {
      const CommCounters before = comm.counters();
      EXPECT_EQ((*all_reduce)->Run(*stream, data.data(), elements), absl::OkStatus());
      EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
      const CommCounters after = comm.counters();
      const int64_t own = elements * (rank + 1) / size - elements * rank / size;
      EXPECT_EQ(after.TotalBytes() - before.TotalBytes(),
                static_cast<uint64_t>(4 * (elements - own + own * (size - 1))));
      const uint64_t expected_operations = size == 1 ? 0 : size == 2 && elements < kMostElements ? 1 : 2;
      EXPECT_EQ(after.TotalOperations() - before.TotalOperations(), expected_operations);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, OrderedAllReduceSuite,
                         testing::Combine(testing::ValuesIn(CommunicatorWorlds()),
                                          testing::Values(StreamKind::kInline, StreamKind::kDeferred)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" + Name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longspan
