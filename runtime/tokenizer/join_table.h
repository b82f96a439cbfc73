// Where a text may be cut before its pairs are merged.
//
// A merge only ever forms a token of the vocabulary. Where two characters stand next to each other in no
// token, no merge crosses, and the parts to the left and the right can be merged one after the other: short
// words instead of a whole document, with exactly the same outcome.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/utf8.h"

namespace longspan {

class JoinTable {
 public:
  JoinTable() : bits_(kNumBits / 64) {}

  // Every token that a merge can form has to be added.
  void AddToken(std::string_view text);

  // Calls `use(begin, end)` for each part of the text, which must not be empty, that no merge leaves.
  template <typename Use>
  void ForEachWord(std::string_view text, const Use& use) const {
    size_t word = 0;
    Utf8Step left = DecodeUtf8(text, 0);
    for (size_t at = left.length; at < text.size();) {
      const Utf8Step right = DecodeUtf8(text, at);
      if (!MayJoin(left.code, right.code)) {
        use(word, at);
        word = at;
      }
      at += right.length;
      left = right;
    }
    use(word, text.size());
  }

  // False only when no token has these two code points next to each other.
  bool MayJoin(uint32_t left, uint32_t right) const {
    const uint32_t bit = Bit(left, right);
    return (bits_[bit / 64] >> (bit % 64) & 1) != 0;
  }

 private:
  // Pairs share bits by their hash; a shared bit costs a cut, not correctness.
  static constexpr int kLog2Bits = 20;
  static constexpr uint32_t kNumBits = 1u << kLog2Bits;

  static uint32_t Bit(uint32_t left, uint32_t right) {
    const uint64_t pair = static_cast<uint64_t>(left) << 32 | right;
    return static_cast<uint32_t>(pair * 0x9E3779B97F4A7C15u >> (64 - kLog2Bits));
  }

  std::vector<uint64_t> bits_;
};

}  // namespace longspan
