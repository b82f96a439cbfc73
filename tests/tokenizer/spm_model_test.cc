#include "runtime/tokenizer/spm_model.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

using Ids = std::vector<int32_t>;

Ids Encode(const SpmModel& model, std::string_view text) {
  Ids ids;
  model.Encode(std::vector<std::string_view>{text}, &ids);
  return ids;
}

TEST(SpmModelTest, MergesTheHighestScoreFirst) {
  SpmModel model(std::nullopt);
  model.AddPiece("a", 0, -10);
  model.AddPiece("b", 1, -10);
  model.AddPiece("c", 2, -10);
  model.AddPiece("ab", 3, -2);
  model.AddPiece("bc", 4, -1);
  EXPECT_EQ(Encode(model, "abc"), (Ids{0, 4}));
  EXPECT_EQ(Encode(model, "ab"), (Ids{3}));
}

TEST(SpmModelTest, OfEqualScoresTheLeftmostGoesFirst) {
  SpmModel model(std::nullopt);
  model.AddPiece("a", 0, -10);
  model.AddPiece("aa", 1, -0.0);
  model.AddPiece("ba", 2, 0.0);
  model.AddPiece("b", 3, -10);
  EXPECT_EQ(Encode(model, "aaa"), (Ids{1, 0}));
  EXPECT_EQ(Encode(model, "baa"), (Ids{2, 0}));
}

TEST(SpmModelTest, ATokenThatNoMergesReachIsNotUsed) {
  SpmModel model(std::nullopt);
  for (int32_t id = 0; id < 3; ++id) model.AddPiece(std::string_view("abc").substr(id, 1), id, -10);
  model.AddPiece("abc", 3, 0);
  EXPECT_EQ(Encode(model, "abc"), (Ids{0, 1, 2}));
}

TEST(SpmModelTest, CharactersWithoutAPieceBecomeBytesOrOneUnknown) {
  SpmModel with_bytes(7);
  for (int byte = 0; byte < 256; ++byte) with_bytes.AddByte(static_cast<uint8_t>(byte), 100 + byte);
  with_bytes.AddPiece("a", 1, 0);
  EXPECT_EQ(Encode(with_bytes, "a\xC3\xA9"), (Ids{1, 100 + 0xC3, 100 + 0xA9}));

  SpmModel with_unknown(7);
  with_unknown.AddPiece("a", 1, 0);
  EXPECT_EQ(Encode(with_unknown, "xya\xC3\xA9z"), (Ids{7, 1, 7}));

  SpmModel with_neither(std::nullopt);
  with_neither.AddPiece("a", 1, 0);
  EXPECT_EQ(Encode(with_neither, "xa"), (Ids{1}));
}

TEST(SpmModelTest, UserDefinedPiecesAreCutOutFirst) {
  SpmModel model(std::nullopt);
  model.AddPiece("a", 0, -5);
  model.AddPiece("<", 1, -5);
  model.AddPiece("a<", 2, 0);
  model.AddUserDefined("<b>", 3, -1000);
  model.AddUserDefined("  ", 4, -1000);
  model.AddUserDefined("    ", 5, -1000);
  model.AddPiece(" ", 6, -5);
  model.AddPiece(" a", 7, -1);
  EXPECT_EQ(Encode(model, "a<b>a<"), (Ids{0, 3, 2}));
  EXPECT_EQ(Encode(model, "      a a"), (Ids{5, 4, 0, 7}));
}

TEST(SpmModelTest, TheEscapedSpaceIsASpace) {
  SpmModel model(std::nullopt);
  model.AddPiece(" ", 0, -5);
  model.AddPiece("a", 1, -5);
  model.AddPiece(" a", 2, -1);
  EXPECT_EQ(WithPlainSpaces("\xE2\x96\x81\xE2\x96\x81"
                            "a\xE2\x96\x80"),
            "  a\xE2\x96\x80");
  EXPECT_EQ(Encode(model,
                   "\xE2\x96\x81"
                   "a a"),
            (Ids{2, 2}));
}

// The same by trying every pair of the whole text each time.
Ids EncodeSlowly(const std::map<std::string, std::pair<int32_t, double>>& pieces, const std::string& text) {
  std::vector<std::string> symbols;
  for (size_t at = 0; at < text.size();) {
    symbols.push_back(text.substr(at, DecodeUtf8(text, at).length));
    at += symbols.back().size();
  }
  while (true) {
    size_t best = symbols.size();
    double best_score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = pieces.find(symbols[i] + symbols[i + 1]);
      if (found == pieces.end()) continue;
      if (best == symbols.size() || found->second.second > best_score) {
        best = i;
        best_score = found->second.second;
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + best + 1);
  }
  Ids ids;
  for (const std::string& symbol : symbols) {
    const auto found = pieces.find(symbol);
    if (found != pieces.end()) ids.push_back(found->second.first);
  }
  return ids;
}

TEST(SpmModelTest, EqualsTryingEveryPair) {
  constexpr uint32_t kSeed = 11;
  std::mt19937 random(kSeed);
  const std::vector<std::string> alphabet = {"a", "b", "c", " ", "\xC3\xA9", "\xE6\x96\x87"};
  const auto random_text = [&](size_t characters) {
    std::string text;
    for (size_t i = 0; i < characters; ++i) text += alphabet[random() % alphabet.size()];
    return text;
  };
  for (int vocabulary = 0; vocabulary < 40; ++vocabulary) {
    std::map<std::string, std::pair<int32_t, double>> pieces;
    for (const std::string& character : alphabet) pieces.try_emplace(character, pieces.size(), -99.0);
    for (int i = 0; i < 40; ++i) {
      // Few scores, so that ties are common.
      pieces.try_emplace(random_text(2 + random() % 4), pieces.size(), -static_cast<double>(random() % 8));
    }
    SpmModel model(std::nullopt);
    for (const auto& [text, piece] : pieces) model.AddPiece(text, piece.first, piece.second);
    for (int round = 0; round < 40; ++round) {
      const std::string text = random_text(random() % 40);
      ASSERT_EQ(Encode(model, text), EncodeSlowly(pieces, text))
          << "seed " << kSeed << ", vocabulary " << vocabulary << ", text '" << text << "'";
    }
  }
}

}  // namespace
}  // namespace longspan
