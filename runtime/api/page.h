// The page at "/": page.html, which is part of the program.
#pragma once

#include <string_view>

namespace longspan {

std::string_view PageText();

}  // namespace longspan
