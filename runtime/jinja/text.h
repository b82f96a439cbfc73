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

bool AreDigits(std::string_view text);  // str.isdigit

// repr(text).
std::string Quote(std::string_view text);
// & < > ' " as HTML entities.
std::string EscapeHtml(std::string_view text);

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
// At most `most` cuts; without limit when negative. The separator is not empty (CHECK).
std::vector<std::string_view> Split(std::string_view text, std::string_view separator, int64_t most,
                                    bool from_right);
// The same at runs of white space, from the left.
std::vector<std::string_view> SplitAtSpace(std::string_view text, int64_t most);

// At most `most` replacements; all when negative. An empty text to replace stands before each character and
// at the end.
std::string ReplaceText(Meter& meter, std::string_view text, std::string_view old_text,
                        std::string_view new_text, int64_t most);
}  // namespace longspan::jinja
