#include "runtime/tokenizer/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

bool IsWhiteSpace(uint32_t code) { return u_isUWhiteSpace(static_cast<UChar32>(code)); }

// What a regular expression's \w takes.
bool IsWordCharacter(uint32_t code) {
  const auto character = static_cast<UChar32>(code);
  constexpr uint32_t kMarksDigitsConnectors = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_isUAlphabetic(character) || (U_GET_GC_MASK(character) & kMarksDigitsConnectors) != 0 ||
         u_hasBinaryProperty(character, UCHAR_JOIN_CONTROL);
}

size_t CharacterBefore(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

bool IsInsideWord(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && IsWordCharacter(DecodeUtf8(text, CharacterBefore(text, begin)).code)) ||
         (end < text.size() && IsWordCharacter(DecodeUtf8(text, end).code));
}

size_t SkipWhiteSpaceLeft(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const size_t before = CharacterBefore(text, at);
    if (!IsWhiteSpace(DecodeUtf8(text, before).code)) break;
    at = before;
  }
  return at;
}

size_t SkipWhiteSpaceRight(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (!IsWhiteSpace(step.code)) break;
    at += step.length;
  }
  return at;
}

}  // namespace

void AddedTokens::Add(AddedToken token) {
  if (token.content.empty()) return;
  matcher_.Add(token.content, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(std::move(token));
}

void AddedTokens::Split(std::string_view text, bool parse_special, std::vector<Stretch>* stretches) const {
  size_t done = 0;
  std::optional<LiteralMatcher::Match> match;
  for (size_t from = 0; (match = matcher_.Find(text, from)).has_value();) {
    from = match->end;
    const AddedToken& token = tokens_[match->value];
    if (token.special && !parse_special) continue;
    if (token.single_word && IsInsideWord(text, match->begin, match->end)) continue;
    size_t begin = match->begin;
    if (token.strip_left) begin = SkipWhiteSpaceLeft(text, begin, done);
    if (token.strip_right) from = SkipWhiteSpaceRight(text, match->end);
    if (done < begin) stretches->push_back({text.substr(done, begin - done), -1});
    stretches->push_back({text.substr(begin, from - begin), token.id});
    done = from;
  }
  if (done < text.size()) stretches->push_back({text.substr(done), -1});
}

}  // namespace longspan
