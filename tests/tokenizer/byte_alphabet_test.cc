#include "runtime/tokenizer/byte_alphabet.h"

#include <gtest/gtest.h>

#include <set>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

TEST(ByteAlphabetTest, WritesEveryByteAsItsOwnCharacter) {
  std::set<uint32_t> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const uint32_t character = ByteAlphabetCharacter(static_cast<uint8_t>(byte));
    characters.insert(character);
    std::string text;
    AppendUtf8(character, &text);
    EXPECT_EQ(DecodeByteAlphabet(text), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(characters.size(), 256u);
}

TEST(ByteAlphabetTest, AgreesWithPublishedVocabularies) {
  EXPECT_EQ(ByteAlphabetCharacter(' '), 0x120u);   // Ġ
  EXPECT_EQ(ByteAlphabetCharacter('\n'), 0x10Au);  // Ċ
  EXPECT_EQ(ByteAlphabetCharacter('a'), uint32_t{'a'});
  EXPECT_EQ(ByteAlphabetCharacter(0xAD), 0x143u);
}

TEST(ByteAlphabetTest, RefusesOtherCharacters) {
  EXPECT_FALSE(DecodeByteAlphabet("a b").has_value());
  EXPECT_FALSE(DecodeByteAlphabet("\xE2\x96\x81").has_value());
}

}  // namespace
}  // namespace longspan
