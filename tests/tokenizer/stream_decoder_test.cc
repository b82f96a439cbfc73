#include <gtest/gtest.h>

#include <random>

#include "runtime/tokenizer/spm_model.h"
#include "runtime/tokenizer/text_tokenizer.h"
#include "tests/tokenizer/test_texts.h"

namespace longspan {
namespace {

constexpr int32_t kSpecial = 256;
constexpr int32_t kSpaceA = 257;

// Token i is byte i; then a special token and " a".
TextTokenizer ByteTokenizer(bool strips_leading_space) {
  TokenizerParts parts;
  parts.tokens = TokenTable(258, 258);
  for (int32_t id = 0; id < 256; ++id) parts.tokens.SetBytes(id, std::string(1, static_cast<char>(id)));
  parts.tokens.SetSpecial(kSpecial);
  parts.tokens.SetBytes(kSpaceA, " a");
  parts.model = std::make_unique<SpmModel>(std::nullopt);
  parts.strips_leading_space = strips_leading_space;
  return TextTokenizer(std::move(parts));
}

TEST(StreamDecoderTest, HoldsBackAnUnfinishedCharacter) {
  const TextTokenizer tokenizer = ByteTokenizer(false);
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.Append(0xF0), "");
  EXPECT_EQ(decoder.Append(0x9F), "");
  EXPECT_EQ(decoder.Append(kSpecial), "");
  EXPECT_EQ(decoder.Append(0x99), "");
  EXPECT_EQ(decoder.Append(0x82), "\xF0\x9F\x99\x82");
  EXPECT_EQ(decoder.Append(0xE2), "");
  EXPECT_EQ(decoder.Finish(), kReplacementCharacter);
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(StreamDecoderTest, SaysThatBytesAreInvalidAsSoonAsTheyAre) {
  const TextTokenizer tokenizer = ByteTokenizer(false);
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.Append(0xFF), kReplacementCharacter);
  EXPECT_EQ(decoder.Append(0xE2), "");
  EXPECT_EQ(decoder.Append('a'), std::string(kReplacementCharacter) + "a");
}

TEST(StreamDecoderTest, StripsOneSpaceAtTheStartOfATextOnly) {
  const TextTokenizer tokenizer = ByteTokenizer(true);
  StreamDecoder at_start(tokenizer, true);
  EXPECT_EQ(at_start.Append(kSpecial), "");
  EXPECT_EQ(at_start.Append(' '), "");
  EXPECT_EQ(at_start.Append(kSpaceA), " a");
  StreamDecoder continuing(tokenizer, false);
  EXPECT_EQ(continuing.Append(kSpaceA), " a");
  EXPECT_EQ(tokenizer.Decode(std::vector<int32_t>{kSpecial, kSpaceA, kSpaceA}), "a a");
}

TEST(StreamDecoderTest, IdsOutsideTheVocabularyShowNothing) {
  const TextTokenizer tokenizer = ByteTokenizer(false);
  for (const int32_t id : {-1, 258, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer.TokenBytes(id), "");
    EXPECT_FALSE(tokenizer.IsSpecial(id));
  }
}

TEST(StreamDecoderTest, EqualsDecodeOnRandomBytes) {
  constexpr uint32_t kSeed = 20;
  std::mt19937 random(kSeed);
  // Lead and continuation bytes more often than they would come by chance.
  const std::vector<int32_t> often = {0xC3, 0xE2, 0xED, 0xF0, 0xF4, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, ' '};
  for (const bool strips : {false, true}) {
    const TextTokenizer tokenizer = ByteTokenizer(strips);
    for (int round = 0; round < 2000; ++round) {
      std::vector<int32_t> ids(random() % 12);
      for (int32_t& id : ids) {
        id = random() % 2 == 0 ? often[random() % often.size()] : static_cast<int32_t>(random() % 258);
      }
      ASSERT_EQ(Stream(tokenizer, ids), tokenizer.Decode(ids)) << "seed " << kSeed << ", round " << round;
    }
  }
}

}  // namespace
}  // namespace longspan
