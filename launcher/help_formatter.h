// --help that fits a terminal.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace longspan {

// Options in a column of their own, descriptions beside them in lines that end before column 100.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
};

}  // namespace longspan
