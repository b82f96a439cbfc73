// What every communicator promises (comm/communicator.h), on every kind of stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "tests/comm/streams.h"
#include "tests/comm/worlds.h"

namespace longspan {
namespace {

using Bytes = std::vector<std::byte>;
using Sizes = std::vector<size_t>;

// What `from` sends to `to`: no two ranks send the same.
Bytes Message(int from, int to, size_t bytes) {
  Bytes message(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    message[i] = std::byte(static_cast<uint8_t>((static_cast<size_t>(from * 31 + to * 7) + i * 3 + 1) % 251));
  }
  return message;
}

Bytes& operator+=(Bytes& a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

size_t Sum(const Sizes& sizes) { return std::accumulate(sizes.begin(), sizes.end(), size_t{0}); }

// Sizes by rank, to be used in turn: equal, uneven with empty ones, longer than MPI sends at once, empty.
std::vector<Sizes> SizesByRank(int ranks) {
  std::vector<Sizes> all(4, Sizes(static_cast<size_t>(ranks)));
  for (int r = 0; r < ranks; ++r) {
    const size_t at = static_cast<size_t>(r);
    all[0][at] = 8;
    all[1][at] = r % 3 == 1 ? 0 : static_cast<size_t>(100 * r + 5);
    all[2][at] = static_cast<size_t>(70'000 + 1'001 * r);
    all[3][at] = 0;
  }
  return all;
}

// What rank `from` sends to `to` in an uneven all-to-all; some pairs send nothing.
size_t PairBytes(int from, int to) {
  return (from + 2 * to) % 4 == 3 ? 0 : static_cast<size_t>(40 * from + 900 * to + 3);
}

class CommunicatorSuite : public testing::TestWithParam<std::tuple<World<Communicator>, StreamKind>> {
 protected:
  using Body = std::function<void(Communicator&, Stream&)>;

  // Runs the body on every rank, with a stream of its own.
  static void OnEveryRank(const Body& body) {
    std::get<0>(GetParam()).run([&](Communicator& communicator) {
      const std::unique_ptr<Stream> stream = NewStream(std::get<1>(GetParam()), communicator.rank());
      body(communicator, *stream);
      EXPECT_EQ(stream->Synchronize(), absl::OkStatus());
    });
  }
};

TEST_P(CommunicatorSuite, AllGatherPutsPartsInRankOrder) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    for (const Sizes& sizes : SizesByRank(comm.size())) {
      const Bytes own = Message(comm.rank(), 0, sizes[static_cast<size_t>(comm.rank())]);
      Bytes expected;
      for (int r = 0; r < comm.size(); ++r) expected += Message(r, 0, sizes[static_cast<size_t>(r)]);
      Bytes received(Sum(sizes));
      EXPECT_EQ(comm.AllGather(own.data(), sizes, received.data(), stream), absl::OkStatus());
      EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
      EXPECT_EQ(received, expected);
    }
  });
}

TEST_P(CommunicatorSuite, AllGatherWorksInPlace) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    const Sizes sizes = SizesByRank(comm.size())[1];
    const auto own_begin =
        std::accumulate(sizes.begin(), sizes.begin() + comm.rank(), static_cast<ptrdiff_t>(0));
    const Bytes own = Message(comm.rank(), 0, sizes[static_cast<size_t>(comm.rank())]);
    Bytes all(Sum(sizes));
    std::copy(own.begin(), own.end(), all.begin() + own_begin);
    EXPECT_EQ(comm.AllGather(all.data() + own_begin, sizes, all.data(), stream), absl::OkStatus());
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
    Bytes expected;
    for (int r = 0; r < comm.size(); ++r) expected += Message(r, 0, sizes[static_cast<size_t>(r)]);
    EXPECT_EQ(all, expected);
  });
}

TEST_P(CommunicatorSuite, AllToAllExchangesUnevenParts) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    Sizes send_bytes, receive_bytes;
    Bytes sent, expected;
    for (int r = 0; r < comm.size(); ++r) {
      send_bytes.push_back(PairBytes(comm.rank(), r));
      receive_bytes.push_back(PairBytes(r, comm.rank()));
      sent += Message(comm.rank(), r, send_bytes.back());
      expected += Message(r, comm.rank(), receive_bytes.back());
    }
    Bytes received(Sum(receive_bytes));
    EXPECT_EQ(comm.AllToAll(sent.data(), send_bytes, received.data(), receive_bytes, stream),
              absl::OkStatus());
    // The call has copied the sizes.
    std::fill(send_bytes.begin(), send_bytes.end(), 1);
    std::fill(receive_bytes.begin(), receive_bytes.end(), 1);
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
    EXPECT_EQ(received, expected);
  });
}

TEST_P(CommunicatorSuite, GatherReachesTheRootAlone) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    for (int root = 0; root < comm.size(); ++root) {
      for (const Sizes& sizes : SizesByRank(comm.size())) {
        const Bytes own = Message(comm.rank(), root, sizes[static_cast<size_t>(comm.rank())]);
        Bytes expected;
        for (int r = 0; r < comm.size(); ++r) expected += Message(r, root, sizes[static_cast<size_t>(r)]);
        Bytes received(comm.rank() == root ? Sum(sizes) : 0);
        void* receive = comm.rank() == root ? received.data() : nullptr;
        EXPECT_EQ(comm.Gather(own.data(), sizes, receive, root, stream), absl::OkStatus());
        EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
        if (comm.rank() == root) {
          EXPECT_EQ(received, expected);
        }
      }
    }
  });
}

TEST_P(CommunicatorSuite, BroadcastComesFromAnyRoot) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    for (int root = 0; root < comm.size(); ++root) {
      for (const size_t bytes : {size_t{0}, size_t{1}, size_t{100'000}}) {
        Bytes data = Message(comm.rank(), 0, bytes);
        EXPECT_EQ(comm.Broadcast(data.data(), bytes, root, stream), absl::OkStatus());
        EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
        EXPECT_EQ(data, Message(root, 0, bytes));
      }
    }
  });
}

// The monotonic clock is the same for all ranks of a machine.
TEST_P(CommunicatorSuite, BarrierHoldsBackLaterWork) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    int64_t before_ns = 0, after_ns = 0;
    const auto write_now = [](int64_t* ns) {
      *ns = std::chrono::steady_clock::now().time_since_epoch().count();
      return absl::OkStatus();
    };
    stream.Launch([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(comm.rank() == comm.size() - 1 ? 20 : 0));
      return write_now(&before_ns);
    });
    EXPECT_EQ(comm.Barrier(stream), absl::OkStatus());
    stream.Launch([&] { return write_now(&after_ns); });
    const Sizes sizes(static_cast<size_t>(comm.size()), sizeof(int64_t));
    std::vector<int64_t> befores(static_cast<size_t>(comm.size()));
    EXPECT_EQ(comm.AllGather(&before_ns, sizes, befores.data(), stream), absl::OkStatus());
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
    EXPECT_GE(after_ns, *std::max_element(befores.begin(), befores.end()));
  });
}

// Each operation works on what the one before it received, with nothing waiting in between.
TEST_P(CommunicatorSuite, OperationsFollowTheOrderOfTheStream) {
  constexpr int kRounds = 30;
  OnEveryRank([](Communicator& comm, Stream& stream) {
    const size_t ranks = static_cast<size_t>(comm.size());
    const auto next = [](uint64_t sum, size_t rank) { return (sum * 31 + rank + 1) % 1'000'003; };
    uint64_t own = next(0, static_cast<size_t>(comm.rank()));
    std::vector<uint64_t> all(ranks);
    const Sizes sizes(ranks, sizeof(uint64_t));
    for (int round = 0; round < kRounds; ++round) {
      EXPECT_EQ(comm.AllGather(&own, sizes, all.data(), stream), absl::OkStatus());
      stream.Launch([&] {
        own = next(std::accumulate(all.begin(), all.end(), uint64_t{0}), static_cast<size_t>(comm.rank()));
        return absl::OkStatus();
      });
    }
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());

    uint64_t expected = 0;
    for (int round = 0; round <= kRounds; ++round) {
      const uint64_t sum = expected;
      expected = 0;
      for (size_t r = 0; r < ranks; ++r) expected += next(sum, r);
      if (round == kRounds) {
        EXPECT_EQ(own, next(sum, static_cast<size_t>(comm.rank())));
      }
    }
  });
}

TEST_P(CommunicatorSuite, CountersFollowTheFormulas) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    const size_t others = static_cast<size_t>(comm.size()) - 1;
    const int root = comm.size() - 1;
    const bool is_root = comm.rank() == root;
    const Sizes sizes = SizesByRank(comm.size())[1];
    const size_t own_bytes = sizes[static_cast<size_t>(comm.rank())];
    Sizes send_bytes, receive_bytes;
    size_t sent_to_others = 0;
    for (int r = 0; r < comm.size(); ++r) {
      send_bytes.push_back(PairBytes(comm.rank(), r));
      receive_bytes.push_back(PairBytes(r, comm.rank()));
      if (r != comm.rank()) sent_to_others += send_bytes.back();
    }
    const Bytes from(std::max(Sum(send_bytes), own_bytes));
    Bytes to(std::max(Sum(receive_bytes), Sum(sizes)));

    EXPECT_EQ(comm.counters().TotalOperations(), 0u);
    EXPECT_EQ(comm.AllGather(from.data(), sizes, to.data(), stream), absl::OkStatus());
    EXPECT_EQ(comm.AllGather(nullptr, SizesByRank(comm.size())[3], nullptr, stream), absl::OkStatus());
    EXPECT_EQ(comm.AllToAll(from.data(), send_bytes, to.data(), receive_bytes, stream), absl::OkStatus());
    EXPECT_EQ(comm.Gather(from.data(), sizes, to.data(), root, stream), absl::OkStatus());
    EXPECT_EQ(comm.Broadcast(to.data(), 11, root, stream), absl::OkStatus());
    EXPECT_EQ(comm.Barrier(stream), absl::OkStatus());
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());

    const CommCounters counters = comm.counters();
    EXPECT_EQ(counters.BytesOf(CommOp::kAllGather), own_bytes * others);
    EXPECT_EQ(counters.BytesOf(CommOp::kAllToAll), sent_to_others);
    EXPECT_EQ(counters.BytesOf(CommOp::kGather), is_root ? 0 : own_bytes);
    EXPECT_EQ(counters.BytesOf(CommOp::kBroadcast), is_root ? 11 * others : 0);
    EXPECT_EQ(counters.BytesOf(CommOp::kBarrier), 0u);
    EXPECT_EQ(counters.TotalBytes(),
              own_bytes * others + sent_to_others + (is_root ? 11 * others : own_bytes));
    const uint64_t once = others == 0 ? 0 : 1;
    EXPECT_EQ(counters.OperationsOf(CommOp::kAllGather), 2 * once);
    for (const CommOp op : {CommOp::kAllToAll, CommOp::kGather, CommOp::kBroadcast, CommOp::kBarrier}) {
      EXPECT_EQ(counters.OperationsOf(op), once) << std::string(Name(op));
    }
    for (size_t op = 0; op < counters.seconds.size(); ++op) {
      EXPECT_EQ(counters.seconds[op] > 0, once > 0) << std::string(Name(static_cast<CommOp>(op)));
    }
  });
}

// Rows and columns of the grid rank = t * K + k, as the group of a model is cut.
TEST_P(CommunicatorSuite, SplitMakesRowsAndColumnsOfAGrid) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    for (int columns = 1; columns <= comm.size(); ++columns) {
      if (comm.size() % columns != 0) continue;
      const int rows = comm.size() / columns;
      const int t = comm.rank() / columns, k = comm.rank() % columns;
      absl::StatusOr<std::unique_ptr<Communicator>> row = comm.Split(t, k);
      absl::StatusOr<std::unique_ptr<Communicator>> column = comm.Split(k, t);
      EXPECT_TRUE(row.ok() && column.ok());
      if (!row.ok() || !column.ok()) return;
      EXPECT_EQ((*row)->size(), columns);
      EXPECT_EQ((*row)->rank(), k);
      EXPECT_EQ((*column)->size(), rows);
      EXPECT_EQ((*column)->rank(), t);

      std::vector<int> members(static_cast<size_t>(rows)), expected;
      for (int i = 0; i < rows; ++i) expected.push_back(i * columns + k);
      const int own = comm.rank();
      const Sizes sizes(static_cast<size_t>(rows), sizeof(int));
      EXPECT_EQ((*column)->AllGather(&own, sizes, members.data(), stream), absl::OkStatus());
      EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
      EXPECT_EQ(members, expected);
      EXPECT_EQ((*column)->counters().TotalBytes(), sizeof(int) * static_cast<size_t>(rows - 1));
      EXPECT_EQ((*row)->counters().TotalOperations(), 0u);
    }
    EXPECT_EQ(comm.counters().TotalOperations(), 0u);
  });
}

TEST_P(CommunicatorSuite, SplitOrdersByKeyThenRank) {
  OnEveryRank([](Communicator& comm, Stream& stream) {
    absl::StatusOr<std::unique_ptr<Communicator>> reversed = comm.Split(5, -comm.rank());
    absl::StatusOr<std::unique_ptr<Communicator>> same = comm.Split(0, 3);
    EXPECT_TRUE(reversed.ok() && same.ok());
    if (!reversed.ok() || !same.ok()) return;
    EXPECT_EQ((*reversed)->rank(), comm.size() - 1 - comm.rank());
    EXPECT_EQ((*same)->rank(), comm.rank());
    int value = comm.rank();
    EXPECT_EQ((*reversed)->Broadcast(&value, sizeof(value), 0, stream), absl::OkStatus());
    EXPECT_EQ(stream.Synchronize(), absl::OkStatus());
    EXPECT_EQ(value, comm.size() - 1);
  });
}

// Rank 0 sends fewer, or more, bytes than the others expect.
TEST_P(CommunicatorSuite, SizesThatDisagreeAreReported) {
  for (const size_t wrong_bytes : {size_t{3}, size_t{5}}) {
    OnEveryRank([&](Communicator& comm, Stream& stream) {
      Sizes send_bytes(static_cast<size_t>(comm.size()), comm.rank() == 0 ? wrong_bytes : 4);
      Sizes receive_bytes(static_cast<size_t>(comm.size()), 4);
      send_bytes[static_cast<size_t>(comm.rank())] = 4;
      const Bytes from(Sum(send_bytes));
      Bytes to(Sum(receive_bytes));
      EXPECT_EQ(comm.AllToAll(from.data(), send_bytes, to.data(), receive_bytes, stream), absl::OkStatus());
      const absl::Status status = stream.Synchronize();
      EXPECT_EQ(status.ok(), comm.rank() == 0) << status;
      if (comm.rank() != 0) {
        const std::string message(status.message());
        EXPECT_NE(message.find(absl::StrCat("rank ", comm.rank())), std::string::npos) << message;
        EXPECT_NE(message.find("all-to-all"), std::string::npos) << message;
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, CommunicatorSuite,
                         testing::Combine(testing::ValuesIn(CommunicatorWorlds()),
                                          testing::Values(StreamKind::kInline, StreamKind::kDeferred)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" + Name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longspan
