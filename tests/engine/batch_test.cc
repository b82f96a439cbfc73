#include "runtime/engine/batch.h"

#include <random>

#include "gtest/gtest.h"

namespace longspan {
namespace {

StepBatch Example() {
  StepBatch batch;
  batch.step = 1234567890123;
  BatchSequence& first = batch.sequences.emplace_back();
  first.slot = 7;
  first.starts = true;
  first.shift = 3;
  first.tokens = {5, 262143, 0};
  first.logits = LogitRows::kAll;
  first.grants = {{0, 0, {4, 5}}, {1, int64_t{1} << 40, {}}};
  first.first_live_blocks = {0, 0};
  BatchSequence& second = batch.sequences.emplace_back();
  second.first_position = int64_t{1} << 33;
  second.tokens = {9};
  second.logits = LogitRows::kLast;
  second.first_live_blocks = {0, int64_t{1} << 27};
  return batch;
}

TEST(BatchTest, CountsTokensAndLogitRows) {
  EXPECT_EQ(Example().NumTokens(), 4);
  EXPECT_EQ(Example().NumLogitRows(), 3 + 1);
  EXPECT_EQ(StepBatch().NumTokens(), 0);
}

TEST(BatchTest, SurvivesItsBytes) {
  const StepBatch batch = Example();
  const absl::StatusOr<StepBatch> parsed = StepBatch::Parse(batch.Serialize());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->step, batch.step);
  EXPECT_FALSE(parsed->shutdown);
  ASSERT_EQ(parsed->sequences.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const BatchSequence& got = parsed->sequences[i];
    const BatchSequence& want = batch.sequences[i];
    EXPECT_EQ(got.slot, want.slot);
    EXPECT_EQ(got.starts, want.starts);
    EXPECT_EQ(got.shift, want.shift);
    EXPECT_EQ(got.first_position, want.first_position);
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.logits, want.logits);
    EXPECT_EQ(got.first_live_blocks, want.first_live_blocks);
    ASSERT_EQ(got.grants.size(), want.grants.size());
    for (size_t g = 0; g < got.grants.size(); ++g) {
      EXPECT_EQ(got.grants[g].layer_group, want.grants[g].layer_group);
      EXPECT_EQ(got.grants[g].block_index, want.grants[g].block_index);
      EXPECT_EQ(got.grants[g].pages, want.grants[g].pages);
    }
  }
  EXPECT_EQ(parsed->Serialize(), batch.Serialize());
}

TEST(BatchTest, CarriesTheShutdown) {
  StepBatch batch;
  batch.shutdown = true;
  const absl::StatusOr<StepBatch> parsed = StepBatch::Parse(batch.Serialize());
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed->shutdown);
  EXPECT_TRUE(parsed->sequences.empty());
}

TEST(BatchTest, RefusesEveryPartOfAMessageAndAnythingMore) {
  const std::string bytes = Example().Serialize();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(StepBatch::Parse(std::string_view(bytes).substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(StepBatch::Parse(bytes + "x").ok());
}

TEST(BatchTest, NoDamageReadsBeyondTheMessage) {
  // Damaged bytes may by chance be another batch; then they are that batch's own bytes.
  const std::string bytes = Example().Serialize();
  for (unsigned seed = 1; seed <= 5000; ++seed) {
    std::mt19937 random(seed);
    std::string damaged = bytes;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random() % 256);
    const absl::StatusOr<StepBatch> parsed = StepBatch::Parse(damaged);
    if (parsed.ok()) {
      EXPECT_EQ(parsed->Serialize(), damaged) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace longspan
