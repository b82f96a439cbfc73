// `longspan --version`.
#pragma once

#include <string>

namespace longspan {

// Version, commit, build, instruction sets, libraries: several lines.
std::string VersionText();

}  // namespace longspan
