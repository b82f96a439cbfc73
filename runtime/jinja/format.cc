#include "runtime/jinja/format.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "runtime/jinja/operators.h"

namespace longspan::jinja {
namespace {

const Value& Argument(const Arguments& arguments, std::string_view field, size_t* next) {
  size_t index = 0;
  const bool counted = field.empty();
  if (counted || absl::SimpleAtoi(absl::string_view(field.data(), field.size()), &index)) {
    if (counted) index = (*next)++;
    if (index >= arguments.positional.size()) Fail({"format has too few arguments"});
    return arguments.positional[index];
  }
  const auto named = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                  [&](const auto& keyword) { return keyword.first == field; });
  if (named == arguments.keywords.end()) Fail({"format has no argument '", field, "'"});
  return named->second;
}

}  // namespace

Value FormatPercent(Meter& meter, std::string_view text, const Value& values) {
  const Sequence* sequence = values.AsSequence();
  const bool is_tuple = sequence != nullptr && sequence->type == Sequence::Type::kTuple;
  const std::vector<Value> all = is_tuple ? sequence->items : std::vector<Value>{values};
  std::string out;
  size_t next = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    const char kind = ++at < text.size() ? text[at] : '\0';
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (kind != 's' && kind != 'd') Unsupported({"a % format other than %s and %d is not supported"});
    if (next == all.size()) Fail({"a % format has too few values"});
    const Value& value = all[next++];
    Int integer = 0;
    if (kind == 'd' && !value.AsInteger(&integer)) {
      if (value.IsNumber()) Unsupported({"%d of a fraction is not supported: use the filter int"});
      RequireDefined(value);
      Fail({"%d needs a whole number, not a ", TypeName(value)});
    }
    out += kind == 'd' ? FormatInt(integer) : Print(meter, value);
  }
  if (next < all.size() && (is_tuple || values.IsNumber() || values.IsString() || values.IsNone())) {
    Fail({"not all values of a % format are used"});
  }
  return out;
}

Value FormatBraces(Meter& meter, std::string_view text, const Arguments& arguments) {
  std::string out;
  size_t next = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      out += c;
    } else if (at + 1 < text.size() && text[at + 1] == c) {
      out += c;
      ++at;
    } else {
      const size_t end = text.find('}', at);
      if (c == '}' || end == text.npos) Fail({"format meets a brace without its partner"});
      const std::string_view field = text.substr(at + 1, end - at - 1);
      if (field.find_first_of("!:{.[") != field.npos) {
        Unsupported({"the field '{", field, "}' of format is not supported; use {}, {0} or {name}"});
      }
      out += Print(meter, Argument(arguments, field, &next));
      at = end;
    }
  }
  return out;
}

}  // namespace longspan::jinja
