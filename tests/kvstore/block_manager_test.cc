#include "kvstore/block_manager.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include "gtest/gtest.h"
#include "kvstore/shard_map.h"

namespace longspan {
namespace {

KvGeometry Geometry(int kvp, int64_t pages, std::vector<KvGroupGeometry> groups = {{}}) {
  return {.block_size = 4,
          .kvp = kvp,
          .groups = std::move(groups),
          .pages_per_rank = std::vector<int64_t>(static_cast<size_t>(kvp), pages)};
}

std::unique_ptr<BlockManager> Create(KvGeometry geometry) {
  return *BlockManager::Create(std::move(geometry));
}

TEST(BlockManagerTest, RefusesAGeometryThatMakesNoSense) {
  EXPECT_EQ(BlockManager::Create(Geometry(0, 1)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BlockManagerTest, GrantsTheBlocksThatPositionsNeedOnTheirOwners) {
  const auto manager =
      Create(Geometry(2, 10, {{.window = 0, .pages_per_block = 1}, {.window = 0, .pages_per_block = 2}}));
  BlockTable table = manager->Reserve({12, 8}, 1);
  EXPECT_EQ(table.reserved(), (std::vector<int64_t>{3, 6}));  // block 1 on rank 0, blocks 0 and 2 on rank 1
  const std::vector<BlockGrant> first = manager->Extend(table, 5);
  ASSERT_EQ(first.size(), 4u);
  EXPECT_EQ(first[0].layer_group, 0);
  EXPECT_EQ(first[0].pages.size(), 1u);
  EXPECT_EQ(first[2].layer_group, 1);
  EXPECT_EQ(first[2].pages.size(), 2u);
  EXPECT_EQ(manager->in_use(0), 3);
  EXPECT_EQ(manager->in_use(1), 3);
  EXPECT_TRUE(manager->Extend(table, 8).empty());
  EXPECT_EQ(manager->Extend(table, 9).size(), 2u);
  EXPECT_EQ(manager->in_use(1), 6);
  manager->Free(table);
  EXPECT_EQ(manager->in_use(0) + manager->in_use(1), 0);
  EXPECT_EQ(manager->reservations().reserved(0) + manager->reservations().reserved(1), 0);
}

TEST(BlockManagerTest, TrimGivesBackWhatNoComingPositionSees) {
  const auto manager = Create(Geometry(1, 10, {{.window = 6}, {}}));
  BlockTable table = manager->Reserve({16, 8}, 0);
  manager->Extend(table, 8);
  manager->Trim(table, 8);  // position 8 sees 3 to 8
  EXPECT_EQ(table.first_live_blocks(), (std::vector<int64_t>{0, 0}));
  manager->Extend(table, 9);
  manager->Trim(table, 9);  // position 9 sees 4 to 9
  EXPECT_EQ(table.first_live_blocks(), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(manager->in_use(0), 2 + 3);
  manager->Free(table);
}

TEST(BlockManagerTest, ASequenceFromElsewhereHasTheBlocksOfOneThatWasComputedHere) {
  const int64_t total = 30;
  for (int64_t position = 1; position < total; ++position) {
    KvGeometry geometry = Geometry(3, 100, {{.window = 6, .pages_per_block = 2}, {.window = 1}, {}});
    const auto computed = Create(geometry), moved = Create(geometry);
    const KvNeed need = {total, 4};
    BlockTable there = computed->Reserve(need, 1), here = moved->Reserve(need, 1);
    for (int64_t at = 1; at <= position; ++at) {
      computed->Extend(there, at);
      computed->Trim(there, at);
    }
    size_t pages = 0;
    for (const BlockGrant& grant : moved->ExtendAt(here, position)) {
      EXPECT_GE(grant.block_index, there.first_live_blocks()[static_cast<size_t>(grant.layer_group)]);
      pages += grant.pages.size();
    }
    EXPECT_EQ(here.first_live_blocks(), there.first_live_blocks());
    EXPECT_EQ(here.end_position(), position);
    EXPECT_EQ(here.in_use(), there.in_use());
    EXPECT_EQ(static_cast<int64_t>(pages), moved->in_use(0) + moved->in_use(1) + moved->in_use(2));
    for (int64_t at = position + 1; at <= total; ++at) {  // stays within its reservation
      moved->Extend(here, at);
      moved->Trim(here, at);
    }
    moved->Free(here);
    EXPECT_EQ(moved->in_use(0) + moved->in_use(1) + moved->in_use(2), 0);
  }
}

TEST(BlockManagerTest, ShortSequencesSpreadOverTheRanks) {
  const auto manager = Create(Geometry(4, 3));
  std::vector<BlockTable> tables;
  for (int i = 0; i < 12; ++i) {
    const int shift = manager->reservations().ChooseShift({3, 8});
    ASSERT_TRUE(manager->reservations().CanReserve({3, 8}, shift));
    EXPECT_EQ(shift, i % 4);
    tables.push_back(manager->Reserve({3, 8}, shift));
  }
  EXPECT_EQ(manager->reservations().headroom(), 0);
  EXPECT_FALSE(manager->reservations().CanReserve({3, 8}, manager->reservations().ChooseShift({3, 8})));
  for (BlockTable& table : tables) manager->Free(table);
  EXPECT_EQ(manager->reservations().headroom(), 3);
}

TEST(BlockManagerTest, ShiftsFollowUnequalCapacities) {
  KvGeometry geometry = Geometry(3, 0);
  geometry.pages_per_rank = {1, 2, 1};
  const auto manager = Create(geometry);
  // Four blocks: the rank that holds two of them must be rank 1.
  EXPECT_EQ(manager->reservations().ChooseShift({16, 4}), 1);
  EXPECT_TRUE(manager->reservations().CanReserve({16, 4}, 1));
  EXPECT_FALSE(manager->reservations().CanReserve({16, 4}, 0));
  EXPECT_EQ(manager->reservations().LargestContext(4, 1000), 16);
}

TEST(BlockManagerTest, LargestContextIsTheLastLengthThatFits) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    KvGeometry geometry = Geometry(1 + static_cast<int>(random() % 5), 0);
    geometry.groups = {
        {.window = static_cast<int>(random() % 30), .pages_per_block = 1 + static_cast<int>(random() % 2)},
        {.window = static_cast<int>(random() % 2) * 5}};
    for (int64_t& pages : geometry.pages_per_rank) pages = random() % 12;
    const auto manager = Create(geometry);
    const int64_t chunk = 1 + random() % 10;
    int64_t longest = 0;
    while (longest < 150 &&
           manager->reservations().CanReserve({longest + 1, chunk},
                                              manager->reservations().ChooseShift({longest + 1, chunk}))) {
      ++longest;
    }
    EXPECT_EQ(manager->reservations().LargestContext(chunk, 150), longest);
  }
}

// What a test knows of a page that is in use: who holds it, and for what.
using Holder = std::tuple<int, int32_t, int64_t>;  // sequence, layer group, block

struct RunningSequence {
  BlockTable table;
  int id = 0;
  int64_t total = 0;
  int64_t position = 0;
};

class RandomStore {
 public:
  explicit RandomStore(unsigned seed) : random_(seed) {
    KvGeometry geometry = Geometry(1 + Below(8), 0);
    geometry.groups.clear();
    const int groups = 1 + Below(3);
    for (int g = 0; g < groups; ++g) {
      geometry.groups.push_back({.window = Below(2) * (1 + Below(40)), .pages_per_block = 1 + Below(3)});
    }
    for (int64_t& pages : geometry.pages_per_rank) pages = 40 + Below(10);
    chunk_ = 1 + Below(20);
    manager_ = Create(std::move(geometry));
    holders_.resize(manager_->geometry().pages_per_rank.size());
  }

  void Run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) {
      if (running_.empty() || Below(4) == 0) Start();
      if (running_.empty()) continue;
      const auto which = static_cast<size_t>(Below(static_cast<int>(running_.size())));
      if (Below(20) == 0 || running_[which].position == running_[which].total) {
        End(which);
      } else {
        Advance(running_[which]);
      }
      CheckInvariants();
    }
    while (!running_.empty()) End(running_.size() - 1);
    CheckInvariants();
    for (int k = 0; k < manager_->geometry().kvp; ++k) {
      EXPECT_EQ(manager_->in_use(k), 0);
      EXPECT_EQ(manager_->reservations().reserved(k), 0);
    }
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  void Start() {
    const int64_t total = 1 + Below(120);
    const int shift = manager_->reservations().ChooseShift({total, chunk_});
    const bool fits = manager_->reservations().CanReserve({total, chunk_}, shift);
    for (int other = 0; other < manager_->geometry().kvp; ++other) {
      ASSERT_TRUE(fits || !manager_->reservations().CanReserve({total, chunk_}, other))
          << "a better shift than the chosen one";
    }
    if (fits) running_.push_back({manager_->Reserve({total, chunk_}, shift), next_id_++, total, 0});
  }

  void Advance(RunningSequence& sequence) {
    manager_->Trim(sequence.table, sequence.position);
    ForgetTrimmed(sequence);
    const int64_t most = std::min(chunk_, sequence.total - sequence.position);
    sequence.position += 1 + Below(static_cast<int>(most));
    for (const BlockGrant& grant : manager_->Extend(sequence.table, sequence.position)) {
      const int owner = BlockOwner(grant.block_index, sequence.table.shift(), manager_->geometry().kvp);
      for (const int32_t page : grant.pages) {
        const Holder holder = {sequence.id, grant.layer_group, grant.block_index};
        ASSERT_TRUE(holders_[static_cast<size_t>(owner)].emplace(page, holder).second)
            << "a page with two holders";
      }
    }
  }

  void ForgetTrimmed(const RunningSequence& sequence) {
    const std::vector<int64_t> first_live = sequence.table.first_live_blocks();
    for (auto& rank : holders_) {
      std::erase_if(rank, [&](const auto& entry) {
        const auto& [id, group, block] = entry.second;
        return id == sequence.id && block < first_live[static_cast<size_t>(group)];
      });
    }
  }

  void End(size_t which) {
    const int id = running_[which].id;
    for (auto& rank : holders_) {
      std::erase_if(rank, [id](const auto& entry) { return std::get<0>(entry.second) == id; });
    }
    manager_->Free(running_[which].table);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void CheckInvariants() {
    for (int k = 0; k < manager_->geometry().kvp; ++k) {
      ASSERT_EQ(manager_->in_use(k), static_cast<int64_t>(holders_[static_cast<size_t>(k)].size()));
      ASSERT_LE(manager_->in_use(k), manager_->reservations().reserved(k));
      ASSERT_LE(manager_->reservations().reserved(k), manager_->reservations().capacity(k));
    }
  }

  std::mt19937 random_;
  int64_t chunk_ = 1;
  std::unique_ptr<BlockManager> manager_;
  std::vector<std::map<int32_t, Holder>> holders_;  // [kvp]
  std::vector<RunningSequence> running_;
  int next_id_ = 0;
};

TEST(BlockManagerTest, RandomSequencesStayWithinTheirReservations) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomStore(seed).Run(400);
    if (HasFatalFailure()) return;
  }
}

TEST(BlockManagerDeathTest, StopsWhenAPromiseIsBroken) {
  const auto manager = Create(Geometry(1, 4));
  BlockTable table = manager->Reserve({8, 8}, 0);
  EXPECT_DEATH(manager->Reserve({12, 8}, 0), "check failed");
  EXPECT_DEATH(manager->Extend(table, 9), "check failed");
  EXPECT_DEATH(manager->Trim(table, 1), "check failed");
  manager->Free(table);
  EXPECT_DEATH(manager->Extend(table, 1), "check failed");
}

}  // namespace
}  // namespace longspan
