#include "runtime/jinja/format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "runtime/jinja/operators.h"
#include "runtime/jinja/text.h"

namespace longspan::jinja {
namespace {

constexpr size_t kMaxWidth = 1 << 20;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// One conversion of a % format.
struct Conversion {
  std::string flags;
  size_t width = 0;
  int precision = -1;
  char type = 's';

  bool Has(char flag) const { return flags.find(flag) != flags.npos; }
};

class PercentFormatter {
 public:
  PercentFormatter(Meter& meter, const Text& text, const Value& values)
      : meter_(meter), text_(text.text), safe_(text.safe), dict_(values.AsDict()) {
    const Sequence* sequence = values.AsSequence();
    if (sequence != nullptr && sequence->type == Sequence::Type::kTuple) {
      values_ = sequence->items;
    } else {
      values_ = {values};
      may_rest_ = dict_ != nullptr || sequence != nullptr || values.IsUndefined();
    }
  }

  std::string Format() {
    while (at_ < text_.size()) {
      const size_t percent = std::min(text_.find('%', at_), text_.size());
      out_ += text_.substr(at_, percent - at_);
      at_ = percent + 1;
      if (percent < text_.size()) FormatOne();
    }
    if (next_ < values_.size() && !may_rest_) Fail({"not all values of a % format are used"});
    return std::move(out_);
  }

 private:
  char Peek() {
    if (at_ >= text_.size()) Fail({"a % format ends inside a conversion"});
    return text_[at_];
  }

  size_t Number() {
    size_t number = 0;
    for (; IsDigit(Peek()); ++at_) {
      number = number * 10 + static_cast<size_t>(text_[at_] - '0');
      if (number > kMaxWidth) Fail({"a width in a % format is too large"});
    }
    return number;
  }

  Value TakeValue(const std::optional<std::string_view>& key) {
    if (key) {
      const Value* found = dict_ == nullptr ? nullptr : dict_->Find(*key);
      if (found == nullptr) Fail({"a % format needs '", *key, "', which its values do not have"});
      return *found;
    }
    if (next_ == values_.size()) Fail({"a % format has too few values"});
    return values_[next_++];
  }

  void FormatOne() {
    std::optional<std::string_view> key;
    if (Peek() == '(') {
      const size_t end = text_.find(')', at_);
      if (end == text_.npos) Fail({"a % format ends inside a name"});
      key = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    }
    Conversion conversion;
    while (std::string_view("-+ #0").find(Peek()) != std::string_view::npos) conversion.flags += text_[at_++];
    conversion.width = Number();
    if (Peek() == '.') {
      ++at_;
      conversion.precision = static_cast<int>(Number());
    }
    conversion.type = Peek();
    ++at_;
    if (conversion.type == '%') {
      out_ += '%';
      return;
    }
    std::string shown = Convert(conversion, TakeValue(key));
    if (safe_) shown = EscapeHtml(shown);
    const size_t length = CountCharacters(shown);
    const size_t padding = conversion.width > length ? conversion.width - length : 0;
    meter_.Charge(shown.size() + padding);
    if (conversion.Has('-')) {
      out_ += shown + std::string(padding, ' ');
    } else if (conversion.Has('0') && conversion.type != 's' && conversion.type != 'r' &&
               conversion.type != 'c') {
      const size_t sign = shown.starts_with('-') || shown.starts_with('+') || shown.starts_with(' ') ? 1 : 0;
      out_ += shown.substr(0, sign) + std::string(padding, '0') + shown.substr(sign);
    } else {
      out_ += std::string(padding, ' ') + shown;
    }
  }

  std::string Convert(const Conversion& conversion, const Value& value) {
    switch (conversion.type) {
      case 's':
      case 'r': {
        std::string text = conversion.type == 's' ? Print(meter_, value) : Represent(meter_, value);
        if (conversion.precision < 0) return text;
        const std::u32string code_points = ToCodePoints(text);
        return ToUtf8(std::u32string_view(code_points).substr(0, static_cast<size_t>(conversion.precision)));
      }
      case 'c':
        if (const Text* text = value.AsText(); text != nullptr && CountCharacters(text->text) == 1)
          return text->text;
        Fail({"%c needs a character, not a ", TypeName(value)});
      case 'd':
      case 'i':
      case 'u':
        return WithSign(conversion, Digits(conversion, FormatInt(ToInteger(value))));
      case 'x':
      case 'X':
      case 'o':
        return WithSign(conversion, Digits(conversion, Radix(conversion, value)));
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return WithSign(conversion, Real(conversion, value));
      default:
        Fail({"a % format has no conversion '", std::string_view(&conversion.type, 1), "'"});
    }
  }

  static Int ToInteger(const Value& value) {
    Int integer = 0;
    if (value.AsInteger(&integer)) return integer;
    const double* number = value.As<double>();
    if (number == nullptr || !(std::fabs(*number) < 1e30)) {
      RequireDefined(value);
      Fail({"%d needs a number, not a ", TypeName(value)});
    }
    return static_cast<Int>(*number);
  }

  static std::string Radix(const Conversion& conversion, const Value& value) {
    Int integer = 0;
    if (!value.AsInteger(&integer)) Fail({"%x and %o need a whole number, not a ", TypeName(value)});
    const int base = conversion.type == 'o' ? 8 : 16;
    const char* const digits = conversion.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string text;
    const bool negative = integer < 0;
    do {
      const int digit = static_cast<int>(integer % base);
      text += digits[digit < 0 ? -digit : digit];
      integer /= base;
    } while (integer != 0);
    if (conversion.Has('#')) text += conversion.type == 'o' ? "o0" : conversion.type == 'x' ? "x0" : "X0";
    if (negative) text += '-';
    std::reverse(text.begin(), text.end());
    return text;
  }

  static std::string Real(const Conversion& conversion, const Value& value) {
    if (!value.IsNumber()) {
      RequireDefined(value);
      Fail({"%f needs a number, not a ", TypeName(value)});
    }
    const char format[] = {'%', '.', '*', conversion.type, '\0'};
    const int precision = conversion.precision < 0 ? 6 : std::min(conversion.precision, 1000);
    std::string text(1400, '\0');
    const int length = std::snprintf(text.data(), text.size(), format, precision, AsDouble(value));
    text.resize(static_cast<size_t>(length));
    return text;
  }

  // A precision of a whole number is the fewest digits.
  static std::string Digits(const Conversion& conversion, std::string text) {
    const size_t sign = text.starts_with('-') ? 1 : 0;
    const auto wanted = static_cast<size_t>(std::max(conversion.precision, 0));
    if (text.size() - sign < wanted) text.insert(sign, wanted - (text.size() - sign), '0');
    return text;
  }

  static std::string WithSign(const Conversion& conversion, std::string text) {
    if (text.starts_with('-')) return text;
    if (conversion.Has('+')) return "+" + text;
    return conversion.Has(' ') ? " " + text : text;
  }

  Meter& meter_;
  const std::string_view text_;
  const bool safe_;
  const Dict* const dict_;
  std::vector<Value> values_;
  bool may_rest_ = false;  // what has items by key need not be used
  size_t at_ = 0;
  size_t next_ = 0;
  std::string out_;
};

std::optional<Int> WholeNumber(std::string_view text) {
  if (text.empty() || text.size() > 9 || !std::all_of(text.begin(), text.end(), IsDigit)) return std::nullopt;
  return std::stoll(std::string(text));
}

// The value that a replacement field, as "0.name[key]", names. `next` counts fields without a name.
Value FieldValue(Meter& meter, std::string_view field, const Arguments& arguments, size_t* next) {
  size_t end = std::min(field.find_first_of(".["), field.size());
  const std::string_view first = field.substr(0, end);
  std::optional<Int> index = WholeNumber(first);
  if (first.empty()) index = static_cast<Int>((*next)++);
  Value value;
  if (index) {
    if (*index >= static_cast<Int>(arguments.positional.size())) Fail({"format has too few arguments"});
    value = arguments.positional[static_cast<size_t>(*index)];
  } else {
    const auto named = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [&](const auto& keyword) { return keyword.first == first; });
    if (named == arguments.keywords.end()) Fail({"format has no argument '", first, "'"});
    value = named->second;
  }
  while (end < field.size()) {
    const bool attribute = field[end] == '.';
    const size_t begin = end + 1;
    const size_t stop =
        std::min(attribute ? field.find_first_of(".[", begin) : field.find(']', begin), field.size());
    if (stop == begin || (!attribute && stop == field.size())) Fail({"a field of format is not complete"});
    const std::string_view name = field.substr(begin, stop - begin);
    const std::optional<Int> item = WholeNumber(name);
    value = attribute ? GetAttribute(value, name) : GetItem(meter, value, item ? Value(*item) : Value(name));
    end = attribute ? stop : stop + 1;
    if (end < field.size() && field[end] != '.' && field[end] != '[')
      Fail({"a field of format is not complete"});
  }
  return value;
}

}  // namespace

Value FormatPercent(Meter& meter, const Text& text, const Value& values) {
  meter.Charge(text.text.size());
  return Value(PercentFormatter(meter, text, values).Format(), text.safe);
}

Value FormatBraces(Meter& meter, const Text& text, const Arguments& arguments) {
  meter.Charge(text.text.size());
  const std::string_view source = text.text;
  std::string out;
  size_t next = 0;
  for (size_t at = 0; at < source.size();) {
    const char c = source[at];
    if ((c == '{' || c == '}') && at + 1 < source.size() && source[at + 1] == c) {
      out += c;
      at += 2;
    } else if (c == '}') {
      Fail({"format meets a single }"});
    } else if (c == '{') {
      const size_t end = source.find('}', at);
      if (end == source.npos) Fail({"format meets a { that is not closed"});
      const std::string_view field = source.substr(at + 1, end - at - 1);
      if (field.find_first_of("!:{") != field.npos) {
        Unsupported(
            {"the format specification '{", field, "}' is not supported; use a filter, or the operator %"});
      }
      const std::string shown = Print(meter, FieldValue(meter, field, arguments, &next));
      out += text.safe ? EscapeHtml(shown) : shown;
      at = end + 1;
    } else {
      out += c;
      ++at;
    }
  }
  return Value(std::move(out), text.safe);
}

}  // namespace longspan::jinja
