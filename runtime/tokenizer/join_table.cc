#include "runtime/tokenizer/join_table.h"

#include "runtime/tokenizer/utf8.h"

namespace longspan {

void JoinTable::AddToken(std::string_view text) {
  if (text.empty()) return;
  Utf8Step left = DecodeUtf8(text, 0);
  for (size_t at = left.length; at < text.size();) {
    const Utf8Step right = DecodeUtf8(text, at);
    const uint32_t bit = Bit(left.code, right.code);
    bits_[bit / 64] |= uint64_t{1} << (bit % 64);
    at += right.length;
    left = right;
  }
}

}  // namespace longspan
