#include "runtime/grammar/utf8_ranges.h"

#include <algorithm>
#include <array>
#include <string>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

// Code points whose UTF-8 has the same length. Cut until each byte but the last ones is fixed and those take
// all their values, so that the bytes of the first and the last code point are the ranges.
void AddSameLength(uint32_t first, uint32_t last, StateId from, StateId to, AutomatonBuilder* builder) {
  for (uint32_t low_bits = 6; low_bits <= 18; low_bits += 6) {
    const uint32_t mask = (uint32_t{1} << low_bits) - 1;
    if ((first & ~mask) == (last & ~mask)) break;
    if ((first & mask) != 0) {
      AddSameLength(first, first | mask, from, to, builder);
      AddSameLength((first | mask) + 1, last, from, to, builder);
      return;
    }
    if ((last & mask) != mask) {
      AddSameLength(first, (last & ~mask) - 1, from, to, builder);
      AddSameLength(last & ~mask, last, from, to, builder);
      return;
    }
  }
  std::string low, high;
  AppendUtf8(first, &low);
  AppendUtf8(last, &high);
  for (size_t i = 0; i < low.size(); ++i) {
    const StateId next = i + 1 < low.size() ? builder->AddState() : to;
    builder->AddBytes(from, static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i]), next);
    from = next;
  }
}

}  // namespace

void AddUtf8Range(uint32_t first, uint32_t last, StateId from, StateId to, AutomatonBuilder* builder) {
  struct Range {
    uint32_t first, last;
  };
  constexpr std::array<Range, 5> kLengths = {
      {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}}};
  for (const Range& range : kLengths) {
    const uint32_t low = std::max(first, range.first);
    const uint32_t high = std::min(last, range.last);
    if (low <= high) AddSameLength(low, high, from, to, builder);
  }
}

}  // namespace longspan
