#include "runtime/coordinator/placement.h"

#include "gtest/gtest.h"

namespace longspan {
namespace {

// One token is a page.
GroupDescription OfPages(std::vector<int64_t> pages_per_rank) {
  GroupDescription group;
  group.geometry = {.block_size = 1,
                    .kvp = static_cast<int>(pages_per_rank.size()),
                    .groups = {{}},
                    .pages_per_rank = std::move(pages_per_rank)};
  group.max_sequences = 10;
  group.max_context = 1000;
  group.chunk_tokens = group.prompt_logits_chunk = 8;
  return group;
}

constexpr ServiceRates kRates = {.prefill_tokens_per_s = 100, .decode_step_s = 0.1};

TEST(PlacementTest, AnOfferSaysWhenTheFirstTokenComesAndHowFullTheFullestRankIs) {
  GroupState group(OfPages({40, 100}));
  group.prefill_tokens_left = 150;
  group.store.Reserve({20, 8}, 0);  // 10 on each
  // 21 blocks: 11 on the rank that has more, 10 on the other, (10 + 10) / 40 and (10 + 11) / 100.
  const std::optional<Placement> offer = Offer(7, group, {21, 8}, 50, kRates);
  ASSERT_TRUE(offer);
  EXPECT_EQ(offer->group, 7);
  EXPECT_EQ(offer->shift, 1);
  EXPECT_DOUBLE_EQ(offer->expected_first_token_s, 2);
  EXPECT_DOUBLE_EQ(offer->fullness, 0.5);
  // Slots count as well: 9 of 10.
  group.running = 8;
  EXPECT_DOUBLE_EQ(Offer(7, group, {21, 8}, 50, kRates)->fullness, 0.9);
}

TEST(PlacementTest, NothingIsOfferedWhereItDoesNotFit) {
  const auto fits = [](auto&& change, int64_t total_tokens) {
    GroupDescription description = OfPages({40, 100});
    if constexpr (std::is_invocable_v<decltype(change), GroupDescription&>) change(description);
    GroupState group(description);
    if constexpr (std::is_invocable_v<decltype(change), GroupState&>) change(group);
    EXPECT_EQ(Offer(1, group, {total_tokens, 8}, 1, kRates).has_value(),
              group.LargestContextNow(false) >= total_tokens);
    return Offer(1, group, {total_tokens, 8}, 1, kRates).has_value();
  };
  const auto as_it_is = [](GroupState&) {};
  EXPECT_TRUE(fits(as_it_is, 81));
  EXPECT_FALSE(fits(as_it_is, 82));  // 41 on each rank
  EXPECT_FALSE(fits([](GroupDescription& group) { group.max_context = 80; }, 81));
  EXPECT_FALSE(fits([](GroupDescription& group) { group.role = GroupRole::kPrefill; }, 1));
  EXPECT_TRUE(fits([](GroupDescription& group) { group.role = GroupRole::kDecode; }, 1));
  EXPECT_FALSE(fits([](GroupState& group) { group.draining = true; }, 1));
  EXPECT_TRUE(fits([](GroupState& group) { group.running = 9; }, 1));
  EXPECT_FALSE(fits([](GroupState& group) { group.running = 10; }, 1));
  EXPECT_TRUE(fits([](GroupState& group) { group.store.Reserve({20, 8}, 0); }, 61));
  EXPECT_FALSE(fits([](GroupState& group) { group.store.Reserve({20, 8}, 0); }, 62));
}

TEST(PlacementTest, APrefillGroupTakesPromptsThatFit) {
  const auto shift = [](auto&& change, int64_t total_tokens) {
    GroupDescription description = OfPages({40, 100});
    description.role = GroupRole::kPrefill;
    if constexpr (std::is_invocable_v<decltype(change), GroupDescription&>) change(description);
    GroupState group(description);
    if constexpr (std::is_invocable_v<decltype(change), GroupState&>) change(group);
    return OfferPrefill(group, {total_tokens, 8});
  };
  const auto as_it_is = [](GroupState&) {};
  EXPECT_EQ(shift(as_it_is, 81), 1);  // 40 and 41
  EXPECT_EQ(shift(as_it_is, 82), std::nullopt);
  EXPECT_EQ(shift([](GroupDescription& group) { group.max_context = 80; }, 81), std::nullopt);
  EXPECT_EQ(shift([](GroupDescription& group) { group.role = GroupRole::kMixed; }, 1), std::nullopt);
  EXPECT_EQ(shift([](GroupDescription& group) { group.role = GroupRole::kDecode; }, 1), std::nullopt);
  EXPECT_EQ(shift([](GroupState& group) { group.draining = true; }, 1), std::nullopt);
  EXPECT_EQ(shift([](GroupState& group) { group.running = 9; }, 81), 1);
  EXPECT_EQ(shift([](GroupState& group) { group.running = 10; }, 1), std::nullopt);
  EXPECT_EQ(shift([](GroupState& group) { group.store.Reserve({20, 8}, 0); }, 61), 1);
  EXPECT_EQ(shift([](GroupState& group) { group.store.Reserve({20, 8}, 0); }, 62), std::nullopt);
}

TEST(PlacementTest, RoomWithoutSomeOfThoseThatRun) {
  GroupState group(OfPages({50}));
  const std::vector<int64_t> a = group.store.Reserve({20, 8}, 0), b = group.store.Reserve({25, 8}, 0);
  group.running = 10;
  EXPECT_EQ(group.LargestContextNow(false), 0);  // no slot
  const std::vector<std::span<const int64_t>> without_a = {a}, without_both = {a, b};
  EXPECT_EQ(group.LargestContextNow(false, without_a), 25);
  EXPECT_EQ(group.LargestContextNow(false, without_both), 50);
}

TEST(PlacementTest, TheBetterOfferIsTheEarlierOneOnTheEmptierGroup) {
  const Placement offer = {.group = 2, .expected_first_token_s = 1, .fullness = 0.5};  // costs 1.5
  const struct {
    Placement other;
    bool is_better;
  } kCases[] = {
      {{.group = 3, .expected_first_token_s = 0.9, .fullness = 0.5}, true},
      {{.group = 3, .expected_first_token_s = 1, .fullness = 0.4}, true},
      {{.group = 3, .expected_first_token_s = 1, .fullness = 0.6}, false},
      {{.group = 3, .expected_first_token_s = 1.2, .fullness = 0.2}, true},   // 1.44
      {{.group = 3, .expected_first_token_s = 1.2, .fullness = 0.3}, false},  // 1.56
      {{.group = 1, .expected_first_token_s = 1, .fullness = 0.5}, true},
      {{.group = 3, .expected_first_token_s = 1, .fullness = 0.5}, false},
      {{.group = 1, .role = GroupRole::kDecode, .expected_first_token_s = 0.8, .fullness = 0.5}, false},
      {{.group = 1, .role = GroupRole::kDecode, .expected_first_token_s = 0.4, .fullness = 0.5}, true},
      // A prompt that comes from elsewhere does not hold up a decode group.
      {{.group = 1,
        .role = GroupRole::kDecode,
        .expected_first_token_s = 0.8,
        .fullness = 0.5,
        .prefill_group = 9},
       true},
      // Of equals the one that computes the prompt itself.
      {{.group = 2, .expected_first_token_s = 1, .fullness = 0.5, .prefill_group = 1}, false},
  };
  for (const auto& [other, is_better] : kCases) {
    EXPECT_EQ(IsBetter(other, offer), is_better) << other.group << " " << other.expected_first_token_s;
    EXPECT_EQ(IsBetter(offer, other), !is_better);
  }
}

TEST(PlacementTest, WhereNobodyHasMeasuredTheOthersMeanCounts) {
  const std::vector<ServiceRates> measured = {{100, 0}, {300, 0.2}, {0, 0}};
  const ServiceRates usual = UsualRates(measured);
  EXPECT_DOUBLE_EQ(usual.prefill_tokens_per_s, 200);
  EXPECT_DOUBLE_EQ(usual.decode_step_s, 0.2);
  GroupState group(OfPages({50}));
  group.measured = {500, 0};
  EXPECT_DOUBLE_EQ(group.Rates(usual).prefill_tokens_per_s, 500);
  EXPECT_DOUBLE_EQ(group.Rates(usual).decode_step_s, 0.2);
  EXPECT_GT(UsualRates({}).prefill_tokens_per_s, 0);
  EXPECT_GT(UsualRates({}).decode_step_s, 0);
}

TEST(GroupDescriptionTest, EqualDemandIsOfLayoutsNotOfCapacities) {
  const GroupDescription group = OfPages({10, 20});
  EXPECT_TRUE(HaveEqualDemand(group, OfPages({5, 5})));
  EXPECT_FALSE(HaveEqualDemand(group, OfPages({10})));
  GroupDescription other = group;
  other.geometry.groups[0].window = 5;
  EXPECT_FALSE(HaveEqualDemand(group, other));
  other = group;
  other.prompt_logits_chunk = 4;
  EXPECT_FALSE(HaveEqualDemand(group, other));
}

}  // namespace
}  // namespace longspan
