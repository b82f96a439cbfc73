#include "launcher/load/token_lengths.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace longspan::load {
namespace {

constexpr int64_t kMaxTokens = 100'000'000;

bool ParseLength(std::string_view text, int64_t least, int64_t* value) {
  return absl::SimpleAtoi(std::string(text), value) && *value >= least && *value <= kMaxTokens;
}

}  // namespace

absl::StatusOr<TokenLengths> TokenLengths::Parse(std::string_view text) {
  TokenLengths lengths;
  lengths.text_ = std::string(text);
  for (const std::string_view separator : {"+-", "±", "-"}) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) continue;
    lengths.kind_ = separator == "-" ? Kind::kUniform : Kind::kNormal;
    const int64_t least_second = lengths.kind_ == Kind::kUniform ? 1 : 0;
    if (ParseLength(text.substr(0, at), 1, &lengths.first_) &&
        ParseLength(text.substr(at + separator.size()), least_second, &lengths.second_) &&
        (lengths.kind_ == Kind::kNormal || lengths.first_ <= lengths.second_)) {
      return lengths;
    }
    break;
  }
  if (lengths.kind_ == Kind::kFixed && ParseLength(text, 1, &lengths.first_)) return lengths;
  return absl::InvalidArgumentError(
      absl::StrCat("'", lengths.text_,
                   "' is not a number of tokens: give N, a range A-B, or MEAN+-DEVIATION, "
                   "each from 1 to ",
                   kMaxTokens));
}

int64_t TokenLengths::Sample(Random& random) const {
  switch (kind_) {
    case Kind::kFixed:
      return first_;
    case Kind::kUniform:
      return random.Between(first_, second_);
    case Kind::kNormal:
      break;
  }
  for (;;) {
    const double deviations = random.Normal();
    const double length = std::round(static_cast<double>(first_) + deviations * static_cast<double>(second_));
    if (std::abs(deviations) <= 3 && length >= 1) return static_cast<int64_t>(length);
  }
}

}  // namespace longspan::load
