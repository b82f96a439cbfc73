#include "runtime/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "runtime/jinja/text.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameCharacter(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string NormalizeLineBreaks(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

size_t CountDigits(std::string_view text) {
  return std::min(text.find_first_not_of("0123456789"), text.size());
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeLineBreaks(source)), rest_(source_) {}

  std::vector<Token> Run() {
    while (at_ < rest_.size()) Root();
    Emit(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Bad(std::initializer_list<std::string_view> parts) {
    throw Error{absl::StatusCode::kInvalidArgument, Concatenate(parts), line_};
  }

  bool StartsWith(std::string_view text) const { return rest_.substr(at_).starts_with(text); }

  void Advance(size_t count) {
    line_ += static_cast<int>(std::count(rest_.begin() + static_cast<ptrdiff_t>(at_),
                                         rest_.begin() + static_cast<ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
    after_line_break_ = count > 0 && rest_[at_ - 1] == '\n';
  }

  void Emit(TokenType type, std::string_view text, Value number = {}) {
    tokens_.push_back({type, line_, std::string(text), std::move(number)});
  }

  size_t SpaceAt(size_t at) const { return rest_.size() - at - StripLeft(rest_.substr(at)).size(); }

  // Emits the data before a tag that begins at `tag` with this sign, without the white space that it takes.
  void Data(size_t tag, char sign, bool is_variable) {
    std::string_view data = rest_.substr(at_, tag - at_);
    if (sign == '-') {
      data = StripRight(data);
    } else if (sign != '+' && !is_variable) {
      const size_t line = data.rfind('\n') + 1;  // npos + 1 is 0
      if ((line > 0 || after_line_break_) && StripLeft(data.substr(line)).empty())
        data = data.substr(0, line);
    }
    if (!data.empty()) Emit(TokenType::kData, data);
    Advance(tag - at_);
  }

  void Root() {
    const auto next_tag = [this] {
      for (size_t at = at_; (at = rest_.find('{', at)) != rest_.npos; ++at) {
        const char kind = at + 1 < rest_.size() ? rest_[at + 1] : '\0';
        if (kind == '%' || kind == '{' || kind == '#') return at;
      }
      return rest_.npos;
    };
    const size_t tag = next_tag();
    if (tag == rest_.npos) {
      Emit(TokenType::kData, rest_.substr(at_));
      Advance(rest_.size() - at_);
      return;
    }
    const char kind = rest_[tag + 1];
    const char after = tag + 2 < rest_.size() ? rest_[tag + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    Data(tag, sign, kind == '{');
    if (kind == '#') {
      Comment(sign == '\0' ? 2 : 3);
      return;
    }
    Emit(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
    Advance(sign == '\0' ? 2 : 3);
    Inside(kind == '{');
  }

  void Comment(size_t begin_length) {
    const size_t end = rest_.find("#}", at_ + begin_length);
    if (end == rest_.npos) Bad({"a comment is not closed with #}"});
    const char sign = end > at_ + begin_length ? rest_[end - 1] : '\0';
    Advance(end + 2 - at_);
    SkipAfterTag(sign);
  }

  // After the end of a block or comment that had this sign before it.
  void SkipAfterTag(char sign) {
    if (sign == '-') {
      if (const size_t space = SpaceAt(at_); space > 0) Advance(space);
    } else if (sign != '+' && StartsWith("\n")) {
      Advance(1);
    }
  }

  bool EndOfTag(bool is_variable) {
    if (!open_.empty()) return false;
    const std::string_view end = is_variable ? "}}" : "%}";
    const char sign = at_ < rest_.size() ? rest_[at_] : '\0';
    const bool signed_end =
        (sign == '-' || (sign == '+' && !is_variable)) && rest_.substr(at_ + 1).starts_with(end);
    if (!signed_end && !StartsWith(end)) return false;
    Emit(is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
    Advance(signed_end ? 3 : 2);
    if (is_variable) {
      if (signed_end) SkipAfterTag('-');
    } else {
      SkipAfterTag(signed_end ? sign : '\0');
    }
    return true;
  }

  void Inside(bool is_variable) {
    const int begin = line_;
    while (at_ < rest_.size()) {
      if (const size_t space = SpaceAt(at_); space > 0) {
        Advance(space);
        continue;
      }
      if (EndOfTag(is_variable)) return;
      const char c = rest_[at_];
      if (IsDigit(c)) {
        Number();
      } else if (IsNameCharacter(c)) {
        size_t end = at_;
        while (end < rest_.size() && IsNameCharacter(rest_[end])) ++end;
        Emit(TokenType::kName, rest_.substr(at_, end - at_));
        Advance(end - at_);
      } else if (c == '\'' || c == '"') {
        String(c);
      } else {
        OperatorSign();
      }
    }
    line_ = begin;
    Bad({"a tag is not closed with ", is_variable ? "}}" : "%}"});
  }

  void Number() {
    size_t length = CountDigits(rest_.substr(at_));
    bool is_float = false;
    // After a dot stands an index: a.0.1
    if (at_ == 0 || rest_[at_ - 1] != '.') {
      if (rest_.substr(at_ + length).starts_with('.')) {
        const size_t fraction = CountDigits(rest_.substr(at_ + length + 1));
        is_float = fraction > 0;
        length += is_float ? fraction + 1 : 0;
      }
      if (const size_t exponent = ExponentLength(at_ + length); exponent > 0) {
        is_float = true;
        length += exponent;
      }
    }
    const std::string digits(rest_.substr(at_, length));
    const char* const end = digits.data() + digits.size();
    double real = 0;
    int64_t whole = 0;
    const auto parsed =
        is_float ? std::from_chars(digits.data(), end, real) : std::from_chars(digits.data(), end, whole);
    if (parsed.ec != std::errc()) Bad({"the number ", digits, " is too large"});
    if (!is_float && digits[0] == '0' && whole != 0) Bad({"the number ", digits, " begins with 0"});
    Emit(TokenType::kNumber, digits, is_float ? Value(real) : Value(whole));
    Advance(length);
  }

  size_t ExponentLength(size_t at) const {
    std::string_view text = rest_.substr(at);
    if (!text.starts_with('e') && !text.starts_with('E')) return 0;
    const size_t sign = text.substr(1).starts_with('+') || text.substr(1).starts_with('-') ? 1 : 0;
    const size_t digits = CountDigits(text.substr(1 + sign));
    return digits == 0 ? 0 : 1 + sign + digits;
  }

  void String(char quote) {
    size_t end = at_ + 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) Bad({"a string is not closed"});
    Emit(TokenType::kString, Unescape(rest_.substr(at_ + 1, end - at_ - 1)));
    Advance(end + 1 - at_);
  }

  // As in Python's literals.
  std::string Unescape(std::string_view literal) {
    std::string text;
    for (size_t i = 0; i < literal.size(); ++i) {
      if (literal[i] != '\\') {
        text += literal[i];
        continue;
      }
      const char c = literal[++i];  // a string does not end with a single backslash
      constexpr std::string_view kLetters = "ntr\\'\"abfv";
      if (const size_t known = kLetters.find(c); known != kLetters.npos) {
        text += "\n\t\r\\'\"\a\b\f\v"[known];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        i += AppendHex(literal, i + 1, c == 'x' ? 2 : c == 'u' ? 4 : 8, &text);
      } else if (c == 'N' || (c >= '0' && c <= '7')) {
        Unsupported({"the escape \\", std::string_view(&c, 1), " in a string is not supported: use \\u"},
                    line_);
      } else if (c != '\n') {
        text += '\\';
        text += c;
      }
    }
    return text;
  }

  size_t AppendHex(std::string_view literal, size_t at, size_t length, std::string* text) {
    uint32_t code = 0;
    const std::string_view digits = literal.substr(at, length);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() < length || parsed.ec != std::errc() || parsed.ptr != digits.data() + length ||
        code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      Bad({"a string has the escape \\", literal.substr(at - 1, length + 1), ", which is no character"});
    }
    AppendUtf8(code, text);
    return length;
  }

  void OperatorSign() {
    for (const std::string_view sign : {"//", "**", "==", "!=", ">=", "<="}) {
      if (StartsWith(sign)) {
        Emit(TokenType::kOperator, sign);
        Advance(sign.size());
        return;
      }
    }
    const char c = rest_[at_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      Bad({"unexpected character '", rest_.substr(at_, CharacterLength(rest_, at_)), "'"});
    }
    if (c == '(' || c == '[' || c == '{') {
      open_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_.empty() || open_.back() != c) Bad({"unexpected '", std::string_view(&c, 1), "'"});
      open_.pop_back();
    }
    Emit(TokenType::kOperator, std::string_view(&c, 1));
    Advance(1);
  }

  const std::string source_;
  const std::string_view rest_;
  size_t at_ = 0;
  int line_ = 1;
  bool after_line_break_ = true;
  std::string open_;  // closing brackets that are due
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace longspan::jinja
