#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

// Codes above U+10FFFF stand for bytes that are no character.
constexpr uint32_t kNoCharacter = 0x110000;

struct LeadByte {
  uint8_t length = 0;  // 0: cannot begin a character
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

LeadByte ClassifyLead(uint8_t lead) {
  if (lead < 0xC2) return {};
  if (lead < 0xE0) return {2};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (lead < 0xF0) return {3};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8Kind::kCharacter, 1, lead};
  const LeadByte kind = ClassifyLead(lead);
  if (kind.length == 0) return {Utf8Kind::kInvalid, 1, kNoCharacter + lead};
  uint32_t code = lead & (0xFFu >> (kind.length + 1));
  for (uint8_t i = 1; i < kind.length; ++i) {
    if (at + i == text.size()) return {Utf8Kind::kIncomplete, i, kNoCharacter + lead};
    const uint8_t min = i == 1 ? kind.second_min : 0x80;
    const uint8_t max = i == 1 ? kind.second_max : 0xBF;
    if (byte(i) < min || byte(i) > max) return {Utf8Kind::kInvalid, i, kNoCharacter + lead};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  return {Utf8Kind::kCharacter, kind.length, code};
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
    return;
  }
  const int continuations = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const uint32_t marker = 0xF80u >> continuations & 0xFFu;
  out->push_back(static_cast<char>(marker | code >> (6 * continuations)));
  for (int i = continuations - 1; i >= 0; --i) {
    out->push_back(static_cast<char>(0x80u | (code >> (6 * i) & 0x3Fu)));
  }
}

std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (step.kind != Utf8Kind::kCharacter) return at;
    at += step.length;
  }
  return std::nullopt;
}

size_t AppendAsUtf8(std::string_view bytes, bool at_end, std::string* out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = DecodeUtf8(bytes, at);
    if (step.kind == Utf8Kind::kIncomplete && !at_end) break;
    if (step.kind == Utf8Kind::kCharacter) {
      out->append(bytes, at, step.length);
    } else {
      out->append(kReplacementCharacter);
    }
    at += step.length;
  }
  return at;
}

}  // namespace longspan
