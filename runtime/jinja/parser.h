// The grammar of templates: jinja2's, with break, continue and generation blocks, without inheritance,
// inclusion and recursive loops.
#pragma once

#include <string_view>

#include "runtime/jinja/ast.h"

namespace longspan::jinja {

// Throws Error with the line: what is no template, what is not supported (Unimplemented), and what is nested
// too deep. The source must be UTF-8.
Block ParseTemplate(std::string_view source);

}  // namespace longspan::jinja
