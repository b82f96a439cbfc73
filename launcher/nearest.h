// Which of the valid names somebody probably meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace longspan {

// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (optimal string
// alignment).
int EditDistance(std::string_view a, std::string_view b);

// The candidate with the least distance, the first of equals; a candidate that begins with `name` is nearer
// than any that does not. `candidates` must not be empty.
std::string_view Nearest(std::string_view name, std::span<const std::string> candidates);

}  // namespace longspan
