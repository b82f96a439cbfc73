#include "runtime/api/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

void AppendEscaped(unsigned char c, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      *out += "\\u00";
      *out += kHex[c >> 4];
      *out += kHex[c & 15];
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  *out += '"';
  size_t begin = 0;  // of what can be copied as it is
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    size_t length = 1;
    bool as_it_is = c >= 0x20 && c != '"' && c != '\\';
    if (c >= 0x80) {
      const Utf8Step step = DecodeUtf8(text, at);
      length = step.length;
      as_it_is = step.kind == Utf8Kind::kCharacter;
    }
    if (!as_it_is) {
      *out += text.substr(begin, at - begin);
      begin = at + length;
      if (c >= 0x80) {
        *out += kReplacementCharacter;
      } else {
        AppendEscaped(c, out);
      }
    }
    at += length;
  }
  *out += text.substr(begin);
  *out += '"';
}

std::string JsonString(std::string_view text) {
  std::string out;
  AppendJsonString(text, &out);
  return out;
}

void AppendJsonNumber(double number, std::string* out) {
  std::array<char, 32> digits;
  if (!std::isfinite(number)) number = 0;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out->append(digits.data(), end);
}

}  // namespace longspan
