#include "runtime/api/json_scanner.h"

#include <string_view>

namespace longspan {

JsonScanner::Step JsonScanner::Feed(char c) {
  if (kind_ == Kind::kNothing) {
    kind_ = c == '"' ? Kind::kString : c == '{' || c == '[' ? Kind::kContainer : Kind::kScalar;
  }
  if (kind_ == Kind::kScalar) {
    constexpr std::string_view kEnds = ",]} \t\r\n";
    return kEnds.find(c) == std::string_view::npos ? Step::kInside : Step::kBehind;
  }
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (kind_ == Kind::kString) return Step::kLast;
    }
    return Step::kInside;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if ((c == '}' || c == ']') && --depth_ == 0) return Step::kLast;
  return Step::kInside;
}

}  // namespace longspan
