#include "launcher/help_formatter.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longspan {
namespace {

constexpr size_t kDescriptionColumn = 28;
constexpr size_t kMaxColumn = 100;

}  // namespace

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string text = absl::StrCat("  ", make_option_name(option, is_positional), make_option_opts(option));
  const std::string next_line = "\n" + std::string(kDescriptionColumn, ' ');
  size_t column = text.size();
  if (column + 1 < kDescriptionColumn) {
    text.append(kDescriptionColumn - column, ' ');
  } else {
    text += next_line;
  }
  column = kDescriptionColumn;
  for (const absl::string_view word : absl::StrSplit(make_option_desc(option), ' ')) {
    if (column > kDescriptionColumn && column + 1 + word.size() >= kMaxColumn) {
      text += next_line;
      column = kDescriptionColumn;
    }
    if (column > kDescriptionColumn) {
      text += ' ';
      ++column;
    }
    absl::StrAppend(&text, word);
    column += word.size();
  }
  return text + "\n";
}

}  // namespace longspan
