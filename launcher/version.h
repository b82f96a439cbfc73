// What this program is.
#pragma once

#include <string>

namespace longspan {

// `longspan --version`: version, commit, build, instruction sets, libraries, in several lines.
std::string VersionText();

// Version and commit.
std::string BuildName();

}  // namespace longspan
