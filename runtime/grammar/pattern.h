// Regular expressions of JSON Schema ("pattern", and the ones behind "format") as automata over JSON strings.
//
// The part of ECMA-262's that describes a regular language: characters, '.', classes, \d \w \s \D \W \S,
// groups,
// '|', '*', '+', '?', {m,n}, and '^' and '$' at the ends. As JSON Schema says, an expression without them may
// match anywhere in the string.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "runtime/grammar/automaton.h"

namespace longspan {

// Adds the strings that match, quotes included. InvalidArgument says what in the expression is wrong, not
// supported or too large. `work_left`: about nanoseconds; what it takes is subtracted.
absl::Status AddPattern(std::string_view pattern, StateId from, StateId to, AutomatonBuilder* builder,
                        int64_t* work_left);

// The expression of a value of "format"; empty for one that is not supported.
std::string_view PatternOfFormat(std::string_view format);

}  // namespace longspan
