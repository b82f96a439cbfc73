// Strings as Python sees them: sequences of code points, here in UTF-8.
//
// Texts must be valid UTF-8; of others the result is unspecified, but memory is safe. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/error.h"

namespace longspan::jinja {

// Bytes of the character at `at`, at least 1 and never beyond the end.
size_t CharacterLength(std::string_view text, size_t at);
size_t CountCharacters(std::string_view text);
std::u32string ToCodePoints(std::string_view text);
std::string ToUtf8(std::u32string_view code_points);

bool IsSpace(uint32_t code);  // str.isspace
std::string_view StripLeft(std::string_view text, std::optional<std::string_view> characters = {});
std::string_view StripRight(std::string_view text, std::optional<std::string_view> characters = {});

std::string Lower(std::string_view text);
std::string Upper(std::string_view text);
std::string Capitalize(std::string_view text);
std::string Title(std::string_view text);       // str.title
std::string TitleWords(std::string_view text);  // the filter of that name, which cuts words differently

enum class CharacterClass { kLetter, kDecimal, kDigit, kLower, kUpper, kSpace };
// str.isalpha, isdecimal, isdigit, isspace: all characters are of the class, and there is one.
bool AllAre(std::string_view text, CharacterClass wanted);
// str.islower, isupper: some are, and none is of the other case.
bool HasCase(std::string_view text, CharacterClass wanted);
bool AllAreAlphanumeric(std::string_view text);

// repr(text).
std::string Quote(std::string_view text);
// & < > ' " as HTML entities.
std::string EscapeHtml(std::string_view text);

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
// At most `most` cuts from the left or, with `from_right`, from the right; without limit when negative. An
// absent separator is any run of white space; an empty one is not allowed (CHECK).
std::vector<std::string_view> Split(std::string_view text, std::optional<std::string_view> separator,
                                    int64_t most, bool from_right);

// At most `most` replacements; all when negative. An empty text to replace stands before each character and
// at the end.
std::string ReplaceText(Meter& meter, std::string_view text, std::string_view old_text,
                        std::string_view new_text, int64_t most);
// `fill`, one character, on the sides that are asked for until the text has `width` characters.
std::string Pad(Meter& meter, std::string_view text, int64_t width, std::string_view fill, bool right,
                bool left);

}  // namespace longspan::jinja
