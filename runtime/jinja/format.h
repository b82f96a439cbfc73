// Python's two ways to fill values into a string, as far as templates use them: "%s" % x and "{}".format(x).
#pragma once

#include <string_view>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/value.h"

namespace longspan::jinja {

// Knows %s, %d and %%. `values` is a tuple, or else the one value.
Value FormatPercent(Meter& meter, std::string_view text, const Value& values);
// Knows {}, {0}, {name}, {{ and }}.
Value FormatBraces(Meter& meter, std::string_view text, const Arguments& arguments);

}  // namespace longspan::jinja
