#include "runtime/tokenizer/bpe_model.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace longspan {
namespace {

using Ids = std::vector<int32_t>;

struct Words {
  BpeModel::Vocabulary vocabulary;
  BpeModel::Merges merges;
  std::deque<std::string> texts;  // what the views are into

  std::string_view Add(const std::string& text) {
    const std::string& kept = texts.emplace_back(text);
    vocabulary.try_emplace(kept, static_cast<int32_t>(vocabulary.size()));
    return kept;
  }
  std::string_view Merge(std::string_view left, std::string_view right) {
    merges.emplace_back(left, right);
    return Add(std::string(left) + std::string(right));
  }
};

Ids Encode(const BpeModel& model, std::string_view text) {
  Ids ids;
  model.Encode(std::vector<std::string_view>{text}, &ids);
  return ids;
}

TEST(BpeModelTest, EarlierMergesGoFirst) {
  Words words;
  const auto a = words.Add("a"), b = words.Add("b"), c = words.Add("c");
  words.Merge(b, c);  // 3
  words.Merge(a, b);  // 4
  const auto model = BpeModel::Create(words.vocabulary, words.merges, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Encode(**model, "abc"), (Ids{0, 3}));
  EXPECT_EQ(Encode(**model, "abab"), (Ids{4, 4}));
}

TEST(BpeModelTest, IgnoringMergesTakesAWholePieceAtOnce) {
  Words words;
  const auto a = words.Add("a"), b = words.Add("b");
  words.Merge(a, a);
  words.Add("ab");
  (void)b;
  const auto with =
      BpeModel::Create(words.vocabulary, words.merges, {.byte_level = true, .ignore_merges = true});
  const auto without = BpeModel::Create(words.vocabulary, words.merges, {.byte_level = true});
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_EQ(Encode(**with, "ab"), (Ids{3}));
  EXPECT_EQ(Encode(**without, "ab"), (Ids{0, 1}));
  EXPECT_EQ(Encode(**with, "aba"), (Ids{0, 1, 0}));
}

TEST(BpeModelTest, MergesOfByteTokensReachAcrossTheCharactersOfAText) {
  Words words;
  const auto c3 = words.Add("<0xC3>"), a9 = words.Add("<0xA9>"), x = words.Add("x");
  words.Add("<unk>");
  const auto joined = words.Merge(a9, x);  // 4: half of one character and the next one
  (void)c3;
  (void)joined;
  const auto model =
      BpeModel::Create(words.vocabulary, words.merges, {.byte_fallback = true, .unknown_id = 3});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Encode(**model, "\xC3\xA9x"), (Ids{0, 4}));
  EXPECT_EQ(Encode(**model, "\xC3\xA8x"), (Ids{3, 2}));
}

TEST(BpeModelTest, ARunOfUnknownCharactersIsFusedWhenAsked) {
  Words words;
  words.Add("a");
  words.Add("?");
  const auto fused = BpeModel::Create(words.vocabulary, {}, {.fuse_unknown = true, .unknown_id = 1});
  const auto single = BpeModel::Create(words.vocabulary, {}, {.unknown_id = 1});
  const auto none = BpeModel::Create(words.vocabulary, {}, {});
  ASSERT_TRUE(fused.ok() && single.ok() && none.ok());
  EXPECT_EQ(Encode(**fused, "xyaz"), (Ids{1, 0, 1}));
  EXPECT_EQ(Encode(**single, "xyaz"), (Ids{1, 1, 0, 1}));
  EXPECT_EQ(Encode(**none, "xyaz"), (Ids{0}));
  Ids pieces;
  (*fused)->Encode(std::vector<std::string_view>{"x", "y"}, &pieces);
  EXPECT_EQ(pieces, (Ids{1, 1}));
}

TEST(BpeModelTest, TheNeighboursOfACharacterThatIsLeftOutMerge) {
  Words words;
  const auto a = words.Add("a"), b = words.Add("b");
  words.Merge(a, b);  // 2
  const auto model = BpeModel::Create(words.vocabulary, words.merges, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Encode(**model, "axb"), (Ids{2}));
}

TEST(BpeModelTest, AMergeOutsideTheVocabularyIsAnErrorThatQuotesIt) {
  Words words;
  words.Add("a");
  words.Add("b");
  const auto model = BpeModel::Create(words.vocabulary, {{"a", "b"}}, {});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(model.status().message().find("'a' and 'b'"), absl::string_view::npos);
}

TEST(BpeModelTest, ParsesByteTokens) {
  EXPECT_EQ(ParseByteToken("<0x0A>"), 10);
  EXPECT_EQ(ParseByteToken("<0xfF>"), 255);
  for (const char* text : {"", "<0x0>", "<0x0G>", "<0x00", "0x00>", "<0x000>"}) {
    EXPECT_FALSE(ParseByteToken(text).has_value()) << text;
  }
}

Ids EncodeSlowly(const Words& words, const std::string& text) {
  Ids symbols;
  for (const char byte : text) symbols.push_back(words.vocabulary.at(std::string(1, byte)));
  while (true) {
    size_t best_rank = words.merges.size();
    size_t best = 0;
    int32_t best_id = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        const auto& [left, right] = words.merges[rank];
        if (words.vocabulary.at(left) != symbols[i] || words.vocabulary.at(right) != symbols[i + 1]) continue;
        best_rank = rank;
        best = i;
        best_id = words.vocabulary.at(std::string(left) + std::string(right));
      }
    }
    if (best_rank == words.merges.size()) return symbols;
    symbols[best] = best_id;
    symbols.erase(symbols.begin() + best + 1);
  }
}

TEST(BpeModelTest, EqualsTryingEveryPair) {
  constexpr uint32_t kSeed = 12;
  std::mt19937 random(kSeed);
  for (int vocabulary = 0; vocabulary < 30; ++vocabulary) {
    Words words;
    std::vector<std::string_view> known = {words.Add("a"), words.Add("b"), words.Add("c")};
    while (words.merges.size() < 20) {
      const std::string_view left = known[random() % known.size()], right = known[random() % known.size()];
      if (words.vocabulary.contains(std::string(left) + std::string(right))) continue;
      known.push_back(words.Merge(left, right));
    }
    const auto bytes = BpeModel::Create(words.vocabulary, words.merges, {.byte_level = true});
    const auto characters = BpeModel::Create(words.vocabulary, words.merges, {});
    ASSERT_TRUE(bytes.ok() && characters.ok());
    for (int round = 0; round < 30; ++round) {
      std::string text(random() % 40, ' ');
      for (char& byte : text) byte = "abc"[random() % 3];
      const Ids expected = EncodeSlowly(words, text);
      ASSERT_EQ(Encode(**bytes, text), expected) << "seed " << kSeed << ", text " << text;
      ASSERT_EQ(Encode(**characters, text), expected) << "seed " << kSeed << ", text " << text;
    }
  }
}

}  // namespace
}  // namespace longspan
