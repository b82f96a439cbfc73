#include "runtime/jinja/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cstdio>

#include "kernels/check.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan::jinja {
namespace {

uint32_t CodeAt(std::string_view text, size_t at) { return DecodeUtf8(text, at).code; }

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

enum class Casing { kLower, kUpper, kTitle };

// kTitle is for a single character.
std::string Recase(std::string_view text, Casing casing) {
  if (IsAscii(text)) {
    std::string result(text);
    for (char& c : result) {
      if (casing == Casing::kLower && c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
      if (casing != Casing::kLower && c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
    }
    return result;
  }
  icu::UnicodeString unicode =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  const icu::Locale& root = icu::Locale::getRoot();
  if (casing == Casing::kLower) {
    unicode.toLower(root);
  } else if (casing == Casing::kUpper) {
    unicode.toUpper(root);
  } else {
    unicode.toTitle(nullptr, root);
  }
  std::string result;
  unicode.toUTF8String(result);
  return result;
}

bool IsLower(uint32_t code) { return u_hasBinaryProperty(static_cast<UChar32>(code), UCHAR_LOWERCASE) != 0; }
bool IsUpper(uint32_t code) { return u_hasBinaryProperty(static_cast<UChar32>(code), UCHAR_UPPERCASE) != 0; }
bool IsTitle(uint32_t code) { return u_charType(static_cast<UChar32>(code)) == U_TITLECASE_LETTER; }

bool IsPrintable(uint32_t code) {
  if (code == ' ') return true;
  const uint32_t unprintable =
      U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CS_MASK | U_GC_CO_MASK | U_GC_CN_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(code)) & unprintable) == 0;
}

// Whether the character at `at` is to be stripped.
bool Strips(std::string_view text, size_t at, size_t length, std::optional<std::string_view> characters) {
  if (!characters) return IsSpace(CodeAt(text, at));
  const std::string_view character = text.substr(at, length);
  for (size_t i = 0; i < characters->size(); i += CharacterLength(*characters, i)) {
    if (characters->substr(i, CharacterLength(*characters, i)) == character) return true;
  }
  return false;
}

// Where the character that ends at `end` begins.
size_t PreviousCharacter(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0u) == 0x80) --at;
  return at;
}

}  // namespace

size_t CharacterLength(std::string_view text, size_t at) { return DecodeUtf8(text, at).length; }

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0u) != 0x80; }));
}

std::u32string ToCodePoints(std::string_view text) {
  std::u32string code_points;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    code_points.push_back(step.code);
    at += step.length;
  }
  return code_points;
}

std::string ToUtf8(std::u32string_view code_points) {
  std::string text;
  for (const char32_t code : code_points) AppendUtf8(code, &text);
  return text;
}

bool IsSpace(uint32_t code) {
  if (code < 0x80) return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view StripLeft(std::string_view text, std::optional<std::string_view> characters) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t length = CharacterLength(text, begin);
    if (!Strips(text, begin, length, characters)) break;
    begin += length;
  }
  return text.substr(begin);
}

std::string_view StripRight(std::string_view text, std::optional<std::string_view> characters) {
  size_t end = text.size();
  while (end > 0) {
    const size_t begin = PreviousCharacter(text, end);
    if (!Strips(text, begin, end - begin, characters)) break;
    end = begin;
  }
  return text.substr(0, end);
}

std::string Lower(std::string_view text) { return Recase(text, Casing::kLower); }
std::string Upper(std::string_view text) { return Recase(text, Casing::kUpper); }

std::string Capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = CharacterLength(text, 0);
  return Recase(text.substr(0, first), Casing::kTitle) + Lower(text.substr(first));
}

std::string Title(std::string_view text) {
  std::string result;
  bool after_cased = false;
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text, at);
    const uint32_t code = CodeAt(text, at);
    result += Recase(text.substr(at, length), after_cased ? Casing::kLower : Casing::kTitle);
    after_cased = IsLower(code) || IsUpper(code) || IsTitle(code);
    at += length;
  }
  return result;
}

std::string TitleWords(std::string_view text) {
  std::string result;
  const auto begins_word = [](uint32_t code) {
    return IsSpace(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    while (at < text.size() && begins_word(CodeAt(text, at))) at += CharacterLength(text, at);
    result += text.substr(begin, at - begin);
    const size_t word = at;
    while (at < text.size() && !begins_word(CodeAt(text, at))) at += CharacterLength(text, at);
    if (at == word) continue;
    const size_t first = CharacterLength(text, word);
    result += Upper(text.substr(word, first)) + Lower(text.substr(word + first, at - word - first));
  }
  return result;
}

bool AreDigits(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += CharacterLength(text, at)) {
    const int32_t type = u_getIntPropertyValue(static_cast<UChar32>(CodeAt(text, at)), UCHAR_NUMERIC_TYPE);
    if (type != U_NT_DECIMAL && type != U_NT_DIGIT) return false;
  }
  return !text.empty();
}

std::string Quote(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string result(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text, at);
    const uint32_t code = CodeAt(text, at);
    if (code == static_cast<uint32_t>(quote) || code == '\\') {
      result += '\\';
      result += static_cast<char>(code);
    } else if (code == '\n' || code == '\r' || code == '\t') {
      result += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
    } else if (!IsPrintable(code)) {
      char buffer[16];
      std::snprintf(buffer, sizeof buffer,
                    code <= 0xFF     ? "\\x%02x"
                    : code <= 0xFFFF ? "\\u%04x"
                                     : "\\U%08x",
                    code);
      result += buffer;
    } else {
      result += text.substr(at, length);
    }
    at += length;
  }
  return result += quote;
}

std::string EscapeHtml(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '"':
        result += "&#34;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  for (size_t begin = 0, at = 0; begin < text.size();) {
    size_t end = text.size();
    for (; at < text.size(); at += CharacterLength(text, at)) {
      const uint32_t code = CodeAt(text, at);
      if ((code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
          code == 0x2028 || code == 0x2029) {
        end = at;
        at += CharacterLength(text, at);
        if (code == '\r' && at < text.size() && text[at] == '\n') ++at;
        break;
      }
    }
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  return lines;
}

std::vector<std::string_view> Split(std::string_view text, std::string_view separator, int64_t most,
                                    bool from_right) {
  LONGSPAN_CHECK(!separator.empty());
  std::vector<std::string_view> parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == text.npos) break;
    const std::string_view after = text.substr(at + separator.size());
    parts.push_back(from_right ? after : text.substr(0, at));
    text = from_right ? text.substr(0, at) : after;
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitAtSpace(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  text = StripLeft(text);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size() && !IsSpace(CodeAt(text, end))) end += CharacterLength(text, end);
    parts.push_back(text.substr(0, end));
    text = StripLeft(text.substr(end));
  }
  return parts;
}

std::string ReplaceText(Meter& meter, std::string_view text, std::string_view old_text,
                        std::string_view new_text, int64_t most) {
  std::string result;
  size_t at = 0;
  for (int64_t count = 0; most < 0 || count < most; ++count) {
    size_t found = text.find(old_text, at);
    if (old_text.empty() && count > 0) {
      // Passes one character between two replacements.
      if (at == text.size()) break;
      found = at + CharacterLength(text, at);
    }
    if (found == text.npos) break;
    meter.Charge(found - at + new_text.size() + 1);
    result += text.substr(at, found - at);
    result += new_text;
    at = found + old_text.size();
  }
  return result += text.substr(at);
}

}  // namespace longspan::jinja
