// Python's two ways to fill values into a string, as far as templates need them.
#pragma once

#include <string_view>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/value.h"

namespace longspan::jinja {

// text % values: conversions s r d i x X o e f g c and %%, with flags, width and precision, of a tuple's
// items, a dict's (%(name)s), or one value.
Value FormatPercent(Meter& meter, const Text& text, const Value& values);

// text.format(...): {}, {0}, {name}, with .attribute and [item] after them; {{ and }}. Conversions and format
// specifications, as {!r} and {:>8}, are Unimplemented errors.
Value FormatBraces(Meter& meter, const Text& text, const Arguments& arguments);

}  // namespace longspan::jinja
