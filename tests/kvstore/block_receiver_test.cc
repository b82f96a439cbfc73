#include "kvstore/block_receiver.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kvstore/handoff_world.h"

namespace longspan {
namespace {

HandoffOptions RandomOptions(RandomValues& random) {
  HandoffOptions options;
  options.shape = {.block_size = static_cast<int>(Uniform(random, 1, 4)),
                   .kv_heads = 4,
                   .head_dim = 2,
                   .dtype = random.Below(2) == 0 ? DType::kF32 : DType::kBF16,
                   .groups = {{.layers = 2, .window = 7}, {.layers = 4}}};
  const std::vector<RankGrid> grids = Grids(4);
  for (KvPlacement* placement : {&options.source, &options.destination}) {
    placement->grid = grids[static_cast<size_t>(random.Below(std::ssize(grids)))];
    placement->shift = static_cast<int>(random.Below(placement->grid.kvp));
  }
  options.tokens = Uniform(random, 1, 24);
  options.max_transfer_bytes = Uniform(random, 1, 2000);
  return options;
}

// The receivers of all ranks of the destination, each storing to its rank's pages.
struct Receivers {
  explicit Receivers(HandoffWorld& world) {
    for (int rank = 0; rank < std::ssize(world.destinations); ++rank) {
      BlockReceiverOptions options;
      options.handoff = world.id;
      options.rank = rank;
      options.block_hashes = world.hashes;
      options.store = [&world, rank](const PieceRange& pieces, std::span<const std::byte> payload) {
        world.Store(rank, pieces, payload);
      };
      ranks.emplace_back(world.plan, std::move(options));
    }
  }
  std::optional<PieceRejection> Deliver(const Delivery& delivery) {
    return ranks[static_cast<size_t>(delivery.transfer.destination_rank)].Accept(delivery.header,
                                                                                 delivery.payload);
  }
  std::vector<BlockTransfer> Missing() const {
    std::vector<BlockTransfer> all;
    for (const BlockReceiver& receiver : ranks) {
      const std::vector<BlockTransfer> missing = receiver.Missing();
      all.insert(all.end(), missing.begin(), missing.end());
    }
    return all;
  }
  bool complete() const {
    return std::all_of(ranks.begin(), ranks.end(), [](const auto& r) { return r.complete(); });
  }

  std::deque<BlockReceiver> ranks;
};

std::vector<BlockTransfer> AllTransfers(const HandoffPlan& plan) {
  std::vector<BlockTransfer> all;
  for (int rank = 0; rank < plan.options().source.grid.ranks(); ++rank) {
    const std::vector<BlockTransfer> sends = plan.Sends(rank, 0, plan.options().tokens);
    all.insert(all.end(), sends.begin(), sends.end());
  }
  return all;
}

template <typename T>
void Shuffle(std::vector<T>& items, RandomValues& random) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[static_cast<size_t>(random.Below(i))]);
}

void FlipBit(std::vector<std::byte>& bytes, RandomValues& random) {
  if (bytes.empty()) return;
  bytes[static_cast<size_t>(random.Below(std::ssize(bytes)))] ^= static_cast<std::byte>(1 << random.Below(8));
}

// The same payload under a header that says something else, with a checksum that is right.
void Relabel(Delivery& delivery, const auto& change) {
  PieceMessage message;
  if (DecodePieceHeader(delivery.header, &message).has_value()) return;
  change(message);
  const std::span<const std::byte> payload = delivery.payload;
  const PieceHeader header = EncodePieceHeader(message, {&payload, 1});
  delivery.header.assign(header.begin(), header.end());
}

// The same, with the checksum of what the header said before.
void Overwrite(Delivery& delivery, const auto& change) {
  const std::vector<std::byte> before = delivery.header;
  Relabel(delivery, change);
  std::copy(before.end() - 16, before.end(), delivery.header.end() - 16);
}

constexpr int kFaults = 13;
void Damage(int fault, Delivery& delivery, const HandoffWorld& world, const HandoffWorld& stranger,
            RandomValues& random) {
  const auto relabel = [&](const auto& change) { Relabel(delivery, change); };
  const auto overwrite = [&](const auto& change) { Overwrite(delivery, change); };
  const PieceRange& pieces = delivery.transfer.pieces;
  switch (fault) {
    case 0:
      return FlipBit(delivery.header, random);
    case 1:
      return FlipBit(delivery.payload, random);
    case 2:
      return delivery.payload.resize(static_cast<size_t>(random.Below(std::ssize(delivery.payload))));
    case 3:
      return delivery.payload.push_back({});
    case 4:
      return delivery.header.resize(static_cast<size_t>(random.Below(kPieceHeaderBytes)));
    case 5:
      return relabel([&](auto& m) { m.handoff.token = stranger.id.token; });
    case 6:
      return relabel([&](auto& m) { --m.handoff.epoch; });
    case 7:
      return relabel([&](auto& m) { m.pieces.block += Uniform(random, 1, 3); });
    case 8:
      return overwrite([&](auto& m) { ++m.pieces.heads.begin, ++m.pieces.heads.end; });
    case 9:
      return overwrite([&](auto& m) { ++m.pieces.layers.begin, ++m.pieces.layers.end; });
    case 10:
      return overwrite([&](auto& m) { m.pieces.layer_group ^= 1; });
    // KV of the same place of another prompt, sent into this handoff.
    case 11:
      return relabel([&](auto& m) {
        m.block_hash = stranger.hashes[static_cast<size_t>(pieces.block) % stranger.hashes.size()];
      });
    // Another rank's message.
    case 12:
      delivery.transfer.destination_rank = static_cast<int>(random.Below(std::ssize(world.destinations)));
      return;
  }
}

// The memory of a rank once exactly these transfers have arrived.
std::vector<std::byte> ExpectedBytes(HandoffWorld& world, int rank, std::vector<std::byte> bytes,
                                     const std::vector<BlockTransfer>& missing) {
  RankStore& store = world.destinations[static_cast<size_t>(rank)];
  for (const BlockTransfer& t : world.plan.Receives(rank)) {
    if (std::find(missing.begin(), missing.end(), t) != missing.end()) continue;
    for (int layer = t.pieces.layers.begin; layer < t.pieces.layers.end; ++layer) {
      for (int head = t.pieces.heads.begin; head < t.pieces.heads.end; ++head) {
        const auto from = world.Piece(world.sources, world.plan.options().source, t.pieces.layer_group,
                                      t.pieces.block, layer, head);
        const std::byte* to = store.Piece(t.pieces.layer_group, t.pieces.block, layer, head);
        std::memcpy(&bytes[static_cast<size_t>(to - store.bytes().data())], from.data(), from.size());
      }
    }
  }
  return bytes;
}

TEST(BlockReceiverTest, DamagedStaleAndMisplacedMessagesNeverChangeAPage) {
  int64_t damaged_messages = 0;
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomValues random(seed);
    const HandoffOptions options = RandomOptions(random);
    HandoffWorld world(options, random);
    const HandoffWorld stranger(options, random);
    Receivers receivers(world);
    std::vector<std::vector<std::byte>> before;
    for (const RankStore& store : world.destinations) before.push_back(store.bytes());
    const auto expect_pages = [&] {
      for (size_t rank = 0; rank < before.size(); ++rank) {
        ASSERT_EQ(world.destinations[rank].bytes(), ExpectedBytes(world, static_cast<int>(rank), before[rank],
                                                                  receivers.ranks[rank].Missing()));
      }
    };

    std::vector<Delivery> deliveries;
    for (const BlockTransfer& transfer : AllTransfers(world.plan)) {
      // Lost, sent once, or sent twice.
      for (int64_t copies = random.Below(3); copies > 0; --copies) {
        deliveries.push_back(world.Send(transfer));
        const int fault = static_cast<int>(random.Below(2 * kFaults));
        if (fault < kFaults) Damage(fault, deliveries.back(), world, stranger, random), ++damaged_messages;
      }
      if (random.Below(10) == 0) deliveries.push_back(stranger.Send(transfer));
    }
    Shuffle(deliveries, random);
    int64_t accepted = 0;
    for (const Delivery& delivery : deliveries) {
      const auto reason = receivers.Deliver(delivery);
      if (!reason.has_value()) ++accepted;
      // An accepted message is undamaged.
      ASSERT_TRUE(reason.has_value() || world.Arrived(delivery.transfer.pieces));
    }
    expect_pages();
    EXPECT_EQ(std::ssize(receivers.Missing()), std::ssize(AllTransfers(world.plan)) - accepted);

    // What is missing is asked for again; an attempt cancelled before keeps what it has.
    const bool cancelled = seed % 3 == 0;
    if (cancelled) {
      for (BlockReceiver& receiver : receivers.ranks) receiver.Close();
    }
    for (const BlockTransfer& transfer : receivers.Missing()) {
      ASSERT_EQ(receivers.Deliver(world.Send(transfer)),
                cancelled ? std::optional(PieceRejection::kToken) : std::nullopt);
    }
    expect_pages();
    EXPECT_TRUE(cancelled || receivers.complete());
    int64_t stored_bytes = 0;
    for (const BlockReceiver& receiver : receivers.ranks) stored_bytes += receiver.stored_bytes();
    EXPECT_TRUE(cancelled || stored_bytes == world.plan.total_bytes());
  }
  EXPECT_GT(damaged_messages, 5000);
}

TEST(BlockReceiverTest, RejectionsNameTheFirstWrongField) {
  RandomValues random(1);
  HandoffWorld world(SmallHandoff(), random);
  Receivers receivers(world);
  BlockReceiver& receiver = receivers.ranks[0];
  const std::vector<BlockTransfer> expected = world.plan.Receives(0);
  ASSERT_EQ(expected.size(), 3u);
  const auto deliver = [&](const BlockTransfer& transfer, const auto& change) {
    Delivery delivery = world.Send(transfer);
    change(delivery);
    return receivers.Deliver(delivery);
  };
  const auto relabeled = [&](const BlockTransfer& transfer, const auto& change) {
    return deliver(transfer, [&](Delivery& d) { Relabel(d, change); });
  };
  const BlockTransfer& full = expected[0];
  const BlockTransfer& unfilled = expected[2];
  EXPECT_EQ(deliver(full, [](auto& d) { d.header[0] ^= std::byte{1}; }), PieceRejection::kHeader);
  EXPECT_EQ(relabeled(full, [](auto& m) { m.handoff.token[15] ^= std::byte{1}; }), PieceRejection::kToken);
  EXPECT_EQ(relabeled(full, [](auto& m) { ++m.handoff.epoch; }), PieceRejection::kEpoch);
  EXPECT_EQ(relabeled(full, [](auto& m) { m.block_size *= 2, m.head_dim /= 2; }), PieceRejection::kFormat);
  EXPECT_EQ(relabeled(full, [](auto& m) { m.pieces.block = 3; }), PieceRejection::kCoordinates);
  EXPECT_EQ(relabeled(full, [](auto& m) { m.pieces.heads = {1, 3}; }), PieceRejection::kCoordinates);
  EXPECT_EQ(receiver.TakeRefused(), std::vector<BlockTransfer>{});

  EXPECT_EQ(relabeled(unfilled, [](auto& m) { m.filled_tokens = 2; }), PieceRejection::kFilled);
  EXPECT_EQ(receiver.TakeRefused(), std::vector<BlockTransfer>{unfilled});
  EXPECT_EQ(deliver(full, [](auto& d) { d.payload.pop_back(); }), PieceRejection::kLength);
  EXPECT_EQ(relabeled(unfilled, [](auto& m) { ++m.block_hash.high; }), PieceRejection::kHash);
  EXPECT_EQ(deliver(expected[1], [](auto& d) { d.payload[3] ^= std::byte{4}; }), PieceRejection::kChecksum);
  EXPECT_EQ(receiver.TakeRefused(), expected);
  EXPECT_EQ(receiver.TakeRefused(), std::vector<BlockTransfer>{});
  EXPECT_EQ(receiver.Missing(), expected);

  const auto nothing = [](Delivery&) {};
  EXPECT_EQ(deliver(full, nothing), std::nullopt);
  EXPECT_EQ(deliver(full, nothing), PieceRejection::kDuplicate);
  EXPECT_EQ(deliver(unfilled, nothing), std::nullopt);
  EXPECT_FALSE(receiver.complete());
  EXPECT_EQ(receiver.Missing(), std::vector<BlockTransfer>{expected[1]});
  EXPECT_EQ(deliver(expected[1], nothing), std::nullopt);
  EXPECT_TRUE(receiver.complete());
  EXPECT_EQ(receiver.stored_bytes(), world.plan.total_bytes());
  receiver.Close();
  EXPECT_EQ(deliver(full, nothing), PieceRejection::kToken);
}

TEST(BlockReceiverTest, PiecesCutOtherwiseAreNotTaken) {
  RandomValues random(1);
  HandoffWorld world(SmallHandoff(), random);
  Receivers receivers(world);
  BlockTransfer transfer = world.plan.Receives(0)[0];
  transfer.pieces.layers = {0, 1};
  EXPECT_EQ(receivers.Deliver(world.Send(transfer)), PieceRejection::kCoordinates);
}

TEST(BlockReceiverTest, AfterCloseThePagesBelongToOthers) {
  RandomValues random(1);
  for (int round = 0; round < 20; ++round) {
    HandoffWorld world(SmallHandoff(), random);
    Receivers receivers(world);
    std::vector<Delivery> deliveries;
    for (const BlockTransfer& t : AllTransfers(world.plan)) deliveries.push_back(world.Send(t));
    std::atomic<bool> started = false;
    std::thread network([&] {
      started = true;
      for (const Delivery& delivery : deliveries) receivers.Deliver(delivery);
    });
    while (!started) std::this_thread::yield();
    receivers.ranks[0].Close();
    RankStore& store = world.destinations[0];
    std::byte* const memory = store.pages().base;
    std::memset(memory, round, store.bytes().size());  // a race, were anything stored still
    network.join();
    const auto is_ours = [&](std::byte byte) { return byte == static_cast<std::byte>(round); };
    EXPECT_TRUE(std::all_of(store.bytes().begin(), store.bytes().end(), is_ours));
  }
}

}  // namespace
}  // namespace longspan
