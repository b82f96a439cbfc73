// UTF-8, byte by byte (The Unicode Standard, chapter 3, table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longspan {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Kind : uint8_t {
  kCharacter,
  kInvalid,     // no continuation can make these bytes a character
  kIncomplete,  // the text ends inside a character
};

struct Utf8Step {
  Utf8Kind kind;
  uint8_t length;  // bytes; of what is invalid, the longest part that could have begun a character
  uint32_t code;   // of a character; of anything else, a value that no character has
};

// What stands at `at`, which must be inside the text.
Utf8Step DecodeUtf8(std::string_view text, size_t at);

void AppendUtf8(uint32_t code, std::string* out);

// Where the first byte that does not belong to a character stands; empty when all is well.
std::optional<size_t> FindInvalidUtf8(std::string_view text);

// Appends `bytes` to `out` with U+FFFD for what is not UTF-8, and returns how many bytes it took. An
// unfinished character at the end is left alone, unless `at_end` says that nothing follows.
size_t AppendAsUtf8(std::string_view bytes, bool at_end, std::string* out);

}  // namespace longspan
