#include "kvstore/block_transfer.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/kvstore/handoff_world.h"

namespace longspan {
namespace {

using Piece = std::tuple<int64_t, int, int, int>;  // block, layer group, layer, head

auto Key(const BlockTransfer& t) {
  const PieceRange& p = t.pieces;
  return std::tuple(p.block, p.layer_group, p.heads.begin, p.layers.begin);
}

HandoffOptions RandomHandoff(const RankGrid& source, const RankGrid& destination, int kv_heads,
                             RandomValues& random) {
  HandoffOptions options;
  options.shape = {.block_size = static_cast<int>(Uniform(random, 1, 6)),
                   .kv_heads = kv_heads,
                   .head_dim = 2,
                   .dtype = DType::kBF16,
                   .groups = {{.layers = 2, .window = Uniform(random, 1, 30)}, {.layers = 3, .window = 0}}};
  if (random.Bits() % 2 == 0) options.shape.groups.pop_back();
  options.source = {source, static_cast<int>(Uniform(random, 0, source.kvp - 1))};
  options.destination = {destination, static_cast<int>(Uniform(random, 0, destination.kvp - 1))};
  options.tokens = Uniform(random, 1, 50);
  options.max_transfer_bytes =
      static_cast<int64_t>(options.shape.piece_bytes()) * Uniform(random, 1, 40) + Uniform(random, -1, 1);
  return options;
}

void ExpectHolds(const KvPlacement& placement, int rank, const PieceRange& pieces, int kv_heads) {
  const RankGrid& grid = placement.grid;
  EXPECT_EQ(BlockOwner(pieces.block, placement.shift, grid.kvp), grid.KvpRank(rank));
  const HeadRange heads = HeadsOf(grid.TpRank(rank), grid.tp, kv_heads);
  EXPECT_TRUE(heads.begin <= pieces.heads.begin && pieces.heads.end <= heads.end);
}

// How often each piece comes, over all destination ranks.
std::map<Piece, int> CountReceived(const HandoffPlan& plan) {
  std::map<Piece, int> counts;
  for (int rank = 0; rank < plan.options().destination.grid.ranks(); ++rank) {
    const std::vector<BlockTransfer> received = plan.Receives(rank);
    EXPECT_TRUE(std::is_sorted(received.begin(), received.end(),
                               [](const auto& a, const auto& b) { return Key(a) < Key(b); }));
    for (const BlockTransfer& t : received) {
      EXPECT_EQ(t.destination_rank, rank);
      const PieceRange& p = t.pieces;
      ExpectHolds(plan.options().source, t.source_rank, p, plan.options().shape.kv_heads);
      ExpectHolds(plan.options().destination, rank, p, plan.options().shape.kv_heads);
      EXPECT_TRUE(plan.TransferBytes(p) <= plan.options().max_transfer_bytes || p.pieces() == 1);
      for (int layer = p.layers.begin; layer < p.layers.end; ++layer) {
        for (int head = p.heads.begin; head < p.heads.end; ++head) {
          ++counts[{p.block, p.layer_group, layer, head}];
        }
      }
    }
  }
  return counts;
}

// The blocks that hold a position which the next token can see, its own included, position by position.
std::map<Piece, int> CountVisible(const HandoffOptions& options) {
  const KvShape& shape = options.shape;
  std::map<Piece, int> visible;
  for (int g = 0; g < std::ssize(shape.groups); ++g) {
    const auto& [layers, window] = shape.groups[static_cast<size_t>(g)];
    for (int64_t position = 0; position <= options.tokens; ++position) {
      const int64_t block = position / shape.block_size;
      if (window != 0 && options.tokens - position >= window) continue;
      if (block >= BlocksFor(options.tokens, shape.block_size)) continue;
      for (int i = 0; i < layers * shape.kv_heads; ++i)
        visible[{block, g, i / shape.kv_heads, i % shape.kv_heads}] = 1;
    }
  }
  return visible;
}

// Everything that is sent, chunk by chunk as a prompt is computed.
std::vector<BlockTransfer> SendInChunks(const HandoffPlan& plan, RandomValues& random) {
  const HandoffOptions& options = plan.options();
  std::vector<BlockTransfer> all;
  for (int64_t sent = 0; sent < options.tokens;) {
    const int64_t computed = Uniform(random, sent, options.tokens);
    for (int rank = 0; rank < options.source.grid.ranks(); ++rank) {
      for (const BlockTransfer& t : plan.Sends(rank, sent, computed)) {
        EXPECT_EQ(t.source_rank, rank);
        const int64_t end = t.pieces.block * options.shape.block_size + plan.FilledTokens(t.pieces.block);
        EXPECT_TRUE(sent < end && end <= computed) << "block " << t.pieces.block;
        all.push_back(t);
      }
    }
    sent = computed;
  }
  return all;
}

TEST(BlockTransferTest, BetweenAnyTwoLayoutsEachVisiblePieceMovesOnce) {
  RandomValues random(1);
  for (const int kv_heads : {24, 35}) {  // for tp 1, 2, 3, 4, 6, 8, and for 1, 5, 7
    for (const RankGrid& source : Grids(kv_heads)) {
      for (const RankGrid& destination : Grids(kv_heads)) {
        SCOPED_TRACE(testing::Message() << source.tp << "x" << source.kvp << " to " << destination.tp << "x"
                                        << destination.kvp << " of " << kv_heads);
        const HandoffPlan plan = *HandoffPlan::Create(RandomHandoff(source, destination, kv_heads, random));
        const std::map<Piece, int> visible = CountVisible(plan.options());
        ASSERT_EQ(CountReceived(plan), visible);
        ASSERT_EQ(plan.total_bytes(), std::ssize(visible) * 2 * plan.options().shape.block_size * 2 * 2);

        std::vector<BlockTransfer> sent = SendInChunks(plan, random), received;
        for (int rank = 0; rank < destination.ranks(); ++rank) {
          const std::vector<BlockTransfer> transfers = plan.Receives(rank);
          received.insert(received.end(), transfers.begin(), transfers.end());
        }
        const auto by_key = [](const auto& a, const auto& b) { return Key(a) < Key(b); };
        std::sort(sent.begin(), sent.end(), by_key);
        std::sort(received.begin(), received.end(), by_key);
        ASSERT_EQ(sent, received);
      }
    }
  }
}

TEST(BlockTransferTest, TransfersAreAsLargeAsTheLayoutsAndTheLimitAllow) {
  HandoffOptions options;
  options.shape = {.block_size = 4, .kv_heads = 8, .head_dim = 8, .groups = {{.layers = 10}}};
  options.source = {{2, 2}, 1};
  options.destination = {{4, 1}, 0};
  options.tokens = 9;
  const auto pieces_of_rank_1 = [&](int64_t max_pieces) {
    options.max_transfer_bytes = max_pieces * static_cast<int64_t>(options.shape.piece_bytes());
    std::vector<PieceRange> pieces;
    // Blocks 0 and 2 are on the source's kvp rank 1; of tp rank 0's heads, 0 to 3, half go to each of two.
    for (const BlockTransfer& t : HandoffPlan::Create(options)->Sends(1, 0, 7)) pieces.push_back(t.pieces);
    return pieces;
  };
  EXPECT_EQ(pieces_of_rank_1(20),
            (std::vector<PieceRange>{{0, 0, {0, 2}, {0, 10}}, {0, 0, {2, 4}, {0, 10}}}));
  EXPECT_EQ(
      pieces_of_rank_1(13),
      (std::vector<PieceRange>{
          {0, 0, {0, 2}, {0, 6}}, {0, 0, {0, 2}, {6, 10}}, {0, 0, {2, 4}, {0, 6}}, {0, 0, {2, 4}, {6, 10}}}));
  EXPECT_EQ(pieces_of_rank_1(1).size(), 40u);
  options.max_transfer_bytes = 1;  // less than a piece
  EXPECT_EQ(HandoffPlan::Create(options)->Sends(1, 0, 9).size(), 80u);
}

TEST(BlockTransferTest, BlocksOutOfAWindowsSightStay) {
  HandoffOptions options;
  options.shape = {.block_size = 4, .kv_heads = 1, .head_dim = 2, .groups = {{.layers = 1, .window = 5}}};
  // The token at 12 sees 8 to 12; that at 13 sees 9 to 13.
  for (const auto& [tokens, first] : {std::pair(12, 2), {11, 1}, {3, 0}}) {
    options.tokens = tokens;
    EXPECT_EQ(HandoffPlan::Create(options)->VisibleBlocks(0).begin, first) << tokens;
  }
  options.shape.groups[0].window = 1;
  options.tokens = 12;
  const HandoffPlan plan = *HandoffPlan::Create(options);
  EXPECT_TRUE(plan.Receives(0).empty());
  EXPECT_EQ(plan.total_bytes(), 0);
}

TEST(BlockTransferTest, ErrorsNameTheWrongValue) {
  const auto message = [](auto change) {
    HandoffOptions options;
    options.shape = {.block_size = 4, .kv_heads = 8, .head_dim = 2, .groups = {{.layers = 1}}};
    options.tokens = 1;
    change(options);
    return std::string(HandoffPlan::Create(options).status().message());
  };
  const auto expect = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  EXPECT_EQ(message([](HandoffOptions&) {}), "");
  expect(message([](auto& o) {
           o.source.grid = {3, 1};
         }),
         "source of tp 3, which does not divide the model's 8");
  expect(message([](auto& o) { o.destination = {{1, 2}, 2}; }), "destination with shift 2; with kvp 2");
  expect(message([](auto& o) { o.source.grid.kvp = 0; }), "1 x 0 ranks");
  expect(message([](auto& o) { o.tokens = 0; }), "prompt of 0 tokens");
  expect(message([](auto& o) { o.max_transfer_bytes = 0; }), "at most 0 bytes");
  expect(message([](auto& o) { o.shape.groups.clear(); }), "no layer groups");
  expect(message([](auto& o) { o.shape.groups[0].layers = 0; }), "layer group of 0 layers");
  expect(message([](auto& o) { o.shape.groups[0].window = -1; }), "window of -1");
  expect(message([](auto& o) { o.shape.block_size = 0; }), "block of 0 tokens");
  expect(message([](auto& o) { o.shape.kv_heads = 0; }), "0 KV heads");
}

}  // namespace
}  // namespace longspan
