#include "kvstore/block_inbox.h"

#include <memory>

#include "gtest/gtest.h"
#include "tests/kvstore/handoff_world.h"

namespace longspan {
namespace {

TEST(BlockInboxTest, MessagesReachTheirHandoffWhileItIsOpen) {
  RandomValues random(1);
  HandoffWorld first(SmallHandoff(), random), second(SmallHandoff(), random);
  BlockInbox inbox;
  const auto open = [&](HandoffWorld& world) {
    BlockReceiverOptions options;
    options.handoff = world.id;
    options.block_hashes = world.hashes;
    options.store = [&world](const PieceRange& pieces, std::span<const std::byte> payload) {
      world.Store(0, pieces, payload);
    };
    return inbox.Open(world.plan, std::move(options));
  };
  const auto deliver = [&](const HandoffWorld& world, size_t index) {
    const Delivery delivery = world.Send(world.plan.Receives(0)[index]);
    return inbox.Accept(delivery.header, delivery.payload);
  };
  const auto to_first = open(first);
  auto to_second = open(second);
  for (const size_t i : {0, 1, 2}) {
    EXPECT_EQ(deliver(second, i), std::nullopt);
    EXPECT_EQ(deliver(first, i), std::nullopt);
  }
  EXPECT_TRUE(to_first->complete() && to_second->complete());
  for (const BlockTransfer& t : first.plan.Receives(0)) EXPECT_TRUE(first.Arrived(t.pieces));
  EXPECT_EQ(deliver(first, 1), PieceRejection::kDuplicate);

  inbox.Close(first.id);
  inbox.Close(first.id);
  EXPECT_EQ(deliver(first, 1), PieceRejection::kToken);
  const Delivery late = first.Send(first.plan.Receives(0)[0]);
  EXPECT_EQ(to_first->Accept(late.header, late.payload), PieceRejection::kToken);
  EXPECT_EQ(inbox.Accept({}, {}), PieceRejection::kHeader);
  const HandoffId second_id = second.id;
  --second.id.epoch;
  EXPECT_EQ(deliver(second, 0), PieceRejection::kEpoch);
  const std::weak_ptr<BlockReceiver> held = to_second;
  to_second.reset();
  EXPECT_FALSE(held.expired());
  inbox.Close(second_id);
  EXPECT_TRUE(held.expired());
}

}  // namespace
}  // namespace longspan
