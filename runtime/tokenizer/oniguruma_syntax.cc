#include "runtime/tokenizer/oniguruma_syntax.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/regex.h"

namespace longspan {
namespace {

// Contents of PCRE2 character classes. PCRE2's own \s takes U+180E too, and its \w neither marks nor
// connectors.
constexpr std::string_view kSpace = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view kHexDigit = "0-9A-Fa-f";

struct Named {
  std::string_view name;
  std::string_view set;
};
constexpr Named kBracketed[] = {
    {"alpha", R"(\p{Alphabetic})"}, {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"digit", R"(\p{Nd})"},         {"lower", R"(\p{Lowercase})"},
    {"punct", R"(\p{P}\p{S})"},     {"space", kSpace},
    {"upper", R"(\p{Uppercase})"},  {"word", kWord},
    {"xdigit", kHexDigit},
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

std::string Negated(std::string_view set) { return absl::StrCat("[^", std::string(set), "]"); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Translate() {
    while (at_ < pattern_.size()) LONGSPAN_RETURN_IF_ERROR(TranslateNext());
    return std::move(out_);
  }

 private:
  // A class is what it names, plus everything that is not in one of the negated sets.
  struct CharacterClass {
    std::string named;
    std::vector<std::string_view> negated;
  };

  absl::Status Unsupported(std::string_view part) const {
    return absl::UnimplementedError(absl::StrCat("the regular expression '", std::string(pattern_), "' has ",
                                                 std::string(part), ", which is not supported"));
  }

  std::string_view Rest() const { return pattern_.substr(at_); }

  absl::Status TranslateNext() {
    const char c = pattern_[at_];
    if (c == '\\') return TranslateEscape();
    if (c == '[') return TranslateClass();
    if (c == '{') return TranslateInterval();
    if (Rest().starts_with("(?")) return TranslateGroup();
    out_ += c;
    ++at_;
    return absl::OkStatus();
  }

  // Letters other than i and x mean other options, and (?i) inside an expression ends elsewhere.
  absl::Status TranslateGroup() {
    size_t end = at_ + 2;
    while (end < pattern_.size() && (IsLetter(pattern_[end]) || pattern_[end] == '-')) ++end;
    const std::string_view letters = pattern_.substr(at_ + 2, end - at_ - 2);
    const char after = end < pattern_.size() ? pattern_[end] : '\0';
    if (((after == ')' || after == ':') && letters.find_first_not_of("ix-") != letters.npos) ||
        (after == ')' && at_ > 0)) {
      return Unsupported(absl::StrCat("the options (?", std::string(letters), std::string(1, after)));
    }
    out_.append(pattern_, at_, end - at_);
    at_ = end;
    return absl::OkStatus();
  }

  // {n}, {n,}, {,m} or {n,m}; anything else in braces is itself.
  absl::Status TranslateInterval() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t begin = end;
      while (end < pattern_.size() && IsDigit(pattern_[end])) ++end;
      return pattern_.substr(begin, end - begin);
    };
    const std::string_view least = digits();
    const bool comma = end < pattern_.size() && pattern_[end] == ',';
    if (comma) ++end;
    const std::string_view most = comma ? digits() : least;
    if (end == pattern_.size() || pattern_[end] != '}' || (least.empty() && most.empty())) {
      out_ += "\\{";
      ++at_;
      return absl::OkStatus();
    }
    ++end;
    // To Oniguruma a + here repeats again, and a ? after {n} makes it optional; to PCRE2 they say how to
    // match.
    if (end < pattern_.size() && (pattern_[end] == '+' || (pattern_[end] == '?' && !comma))) {
      return Unsupported(absl::StrCat("'", std::string(pattern_.substr(at_, end + 1 - at_)), "'"));
    }
    if (least.empty()) out_ += absl::StrCat("{0,", std::string(most), "}");
    if (!least.empty()) out_.append(pattern_, at_, end - at_);
    at_ = end;
    return absl::OkStatus();
  }

  absl::Status TranslateEscape() {
    const std::optional<char> letter = EscapeLetter();
    if (!letter.has_value()) return Unsupported("a \\ at its end");
    if (const std::optional<Named> set = EscapedSet(*letter)) {
      out_ += set->name.empty() ? Negated(set->set) : absl::StrCat("[", std::string(set->set), "]");
    } else if (*letter == 'b' || *letter == 'B') {
      const std::string word = absl::StrCat("[", std::string(kWord), "]");
      const std::string_view before = *letter == 'b' ? "!" : "=";
      out_ += absl::StrCat("(?:(?<=", word, ")(?", std::string(before), word, ")|(?<!", word, ")(?",
                           *letter == 'b' ? "=" : "!", word, "))");
    } else {
      return CopyEscape(*letter, &out_);
    }
    at_ += 2;
    return absl::OkStatus();
  }

  std::optional<char> EscapeLetter() const {
    if (at_ + 1 == pattern_.size()) return std::nullopt;
    return pattern_[at_ + 1];
  }

  // The set of \s and the like; the name is empty for the negated ones.
  static std::optional<Named> EscapedSet(char letter) {
    switch (letter) {
      case 's':
        return Named{"space", kSpace};
      case 'S':
        return Named{"", kSpace};
      case 'w':
        return Named{"word", kWord};
      case 'W':
        return Named{"", kWord};
      case 'h':
        return Named{"xdigit", kHexDigit};
      case 'H':
        return Named{"", kHexDigit};
      default:
        return std::nullopt;
    }
  }

  // Escapes that stand for the same inside and outside of classes.
  absl::Status CopyEscape(char letter, std::string* out) {
    if (letter == 'p' || letter == 'P') return CopyProperty(out);
    if (letter == 'v') {
      *out += R"(\x{0B})";
      at_ += 2;
    } else if (letter == 'u') {
      *out += absl::StrCat("\\x{", std::string(pattern_.substr(at_ + 2, 4)), "}");
      at_ = std::min(at_ + 6, pattern_.size());
    } else if (letter == 'Q' || letter == 'E' || letter == 'V') {
      return Unsupported(absl::StrCat("\\", std::string(1, letter)));
    } else {
      size_t end = at_ + 2;
      if (IsLetter(letter) && Rest().substr(2, 1) == "{")
        end = std::min(pattern_.find('}', at_), pattern_.size() - 1) + 1;
      out->append(pattern_, at_, end - at_);
      at_ = end;
    }
    return absl::OkStatus();
  }

  // \p{Han} is the script itself; PCRE2 without "sc:" adds characters that the script shares with others.
  absl::Status CopyProperty(std::string* out) {
    const size_t end = pattern_.find('}', at_);
    if (Rest().substr(2, 1) != "{" || end == pattern_.npos) {
      out->append(pattern_, at_, 2);
      at_ += 2;
      return absl::OkStatus();
    }
    std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const std::string script = absl::StrCat("sc:", std::string(name));
    const bool is_script = name.size() > 2 && Regex::CanCompile(absl::StrCat("\\p{", script, "}"));
    *out += absl::StrCat(std::string(pattern_.substr(at_, 3)), negated ? "^" : "",
                         is_script ? script : std::string(name), "}");
    at_ = end + 1;
    return absl::OkStatus();
  }

  absl::Status TranslateClass() {
    ++at_;
    const bool negative = Rest().starts_with('^');
    if (negative) ++at_;
    CharacterClass members;
    if (Rest().starts_with(']')) {  // itself, when it is the first
      members.named = "\\]";
      ++at_;
    }
    while (!Rest().starts_with(']')) {
      if (at_ == pattern_.size()) return Unsupported("a character class without an end");
      LONGSPAN_RETURN_IF_ERROR(TranslateMember(&members));
    }
    ++at_;
    WriteClass(members, negative);
    return absl::OkStatus();
  }

  absl::Status TranslateMember(CharacterClass* members) {
    const char c = pattern_[at_];
    if (Rest().starts_with("&&")) return Unsupported("an intersection of character classes (&&)");
    if (c == '[') return TranslateBracketed(members);
    if (c != '\\') {
      // Members change places, so that a ^ could come first.
      members->named += c == '^' ? "\\^" : std::string(1, c);
      ++at_;
      return absl::OkStatus();
    }
    const std::optional<char> letter = EscapeLetter();
    if (!letter.has_value()) return Unsupported("a \\ at its end");
    const std::optional<Named> set = EscapedSet(*letter);
    if (!set.has_value()) return CopyEscape(*letter, &members->named);
    if (set->name.empty()) {
      members->negated.push_back(set->set);
    } else {
      members->named += set->set;
    }
    at_ += 2;
    if (Rest().starts_with('-')) {  // no range begins with a set
      members->named += "\\-";
      ++at_;
    }
    return absl::OkStatus();
  }

  // [:name:] in a class.
  absl::Status TranslateBracketed(CharacterClass* members) {
    for (const Named& known : kBracketed) {
      const std::string text = absl::StrCat("[:", std::string(known.name), ":]");
      if (!Rest().starts_with(text)) continue;
      members->named += known.set;
      at_ += text.size();
      return absl::OkStatus();
    }
    return Unsupported("a character class inside a character class");
  }

  void WriteClass(const CharacterClass& members, bool negative) {
    const std::string named = absl::StrCat("[", negative ? "^" : "", members.named, "]");
    if (members.negated.empty()) {
      out_ += named;
    } else if (negative) {  // in all of the sets, and nothing that is named
      out_ += "(?:";
      if (!members.named.empty()) out_ += absl::StrCat("(?=", named, ")");
      for (const std::string_view set : members.negated) out_ += absl::StrCat("(?=[", std::string(set), "])");
      out_ += "(?s:.))";
    } else {
      out_ += "(?:";
      if (!members.named.empty()) out_ += named + "|";
      for (size_t i = 0; i < members.negated.size(); ++i) {
        out_ += (i > 0 ? "|" : "") + Negated(members.negated[i]);
      }
      out_ += ")";
    }
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern) {
  return Translator(pattern).Translate();
}

}  // namespace longspan
