// The filters of `x | filter`.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "absl/strings/numbers.h"
#include "runtime/jinja/builtins.h"
#include "runtime/jinja/format.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/json.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/text.h"

namespace longspan::jinja {
namespace {

// Strings

template <std::string (*recase)(std::string_view)>
Value Recase(Call& call) {
  return recase(Print(call.meter, call.self));
}

Value Trim(Call& call) {
  const std::string text = Print(call.meter, call.self);
  const std::optional<std::string_view> characters = call.OptionalString(0);
  return StripRight(StripLeft(text, characters), characters);
}

// Marks the text as safe, once it is escaped if it was not safe.
template <bool escape>
Value MakeSafe(Call& call) {
  const Text* text = call.self.AsText();
  std::string printed = Print(call.meter, call.self);
  const bool escapes = escape && (text == nullptr || !text->safe);
  return Value(escapes ? EscapeHtml(printed) : std::move(printed), /*safe=*/true);
}

Value Replace(Call& call) {
  return ReplaceText(call.meter, Print(call.meter, call.self), call.Printed(0), call.Printed(1),
                     static_cast<int64_t>(call.OptionalInteger(2, -1)));
}

// An argument that is a text, or a number of spaces.
std::string Indentation(Call& call, size_t i, Int absent) {
  if (call.Has(i) && call[i].IsString()) return std::string(call.String(i));
  const auto width = static_cast<size_t>(std::max<Int>(call.Integer(i, absent), 0));
  call.meter.Charge(width);
  return std::string(width, ' ');
}

Value Indent(Call& call) {
  const Text* text = call.self.AsText();
  if (text == nullptr) {
    RequireDefined(call.self);
    Fail({"indent needs a string, not a ", TypeName(call.self)});
  }
  const std::string indent = Indentation(call, 0, 4);
  const bool first = call.Flag(1, false), blank = call.Flag(2, false);
  const std::string with_newline = text->text + "\n";
  std::string result;
  bool at_first = true;
  for (const std::string_view line : SplitLines(with_newline, /*keep_ends=*/false)) {
    if (!at_first) result += '\n';
    if (at_first ? first : blank || !line.empty()) {
      call.meter.Charge(indent.size());
      result += indent;
    }
    at_first = false;
    result += line;
  }
  return result;
}

Value Format(Call& call) {
  if (!call.arguments.keywords.empty()) Unsupported({"format with values by name is not supported"});
  return FormatPercent(call.meter, Print(call.meter, call.self), MakeTuple(call.arguments.positional));
}

Value WriteJson(Call& call) {
  JsonStyle style;
  style.ensure_ascii = call.Flag(0, false);
  if (call.Has(1) && !call[1].IsNone()) {
    style.indent = Indentation(call, 1, 0);
    style.item_separator = std::string(1, ',');  // GCC 12 warns of a plain literal
  }
  if (call.Has(2) && !call[2].IsNone()) {
    const std::vector<Value> separators = Items(call.meter, call[2]);
    if (separators.size() != 2 || !separators[0].IsString() || !separators[1].IsString()) {
      Fail({"tojson takes two strings as separators"});
    }
    style.item_separator = separators[0].AsText()->text;
    style.key_separator = separators[1].AsText()->text;
  }
  style.sort_keys = call.Flag(3, false);
  return ToJson(call.meter, call.self, style);
}

// Numbers

// Of a text in decimal notation, as Python's float().
std::optional<double> ParseFloat(std::string_view text) {
  const std::string digits(StripRight(StripLeft(text)));
  if (digits.find_first_not_of("0123456789.e+-E") != digits.npos) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(digits.c_str(), &end);
  if (digits.empty() || *end != '\0') return std::nullopt;
  return number;
}

// Of a text in decimal notation, as Python's int().
std::optional<Int> ParseInt(std::string_view text) {
  text = StripRight(StripLeft(text));
  int64_t number = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number)) return std::nullopt;
  return Int{number};
}

std::optional<Int> Truncate(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::fabs(number) > 1e38) Fail({"a number is too large"});
  return static_cast<Int>(number);
}

Value ToInt(Call& call) {
  RequireDefined(call.self);
  const Value absent = call.Has(0) ? call[0] : Value(0);
  std::optional<Int> number;
  Int integer = 0;
  if (const Text* text = call.self.AsText()) {
    number = ParseInt(text->text);
    if (!number) {
      if (const std::optional<double> real = ParseFloat(text->text)) number = Truncate(*real);
    }
  } else if (call.self.AsInteger(&integer)) {
    number = integer;
  } else if (const double* real = call.self.As<double>()) {
    number = Truncate(*real);
  }
  return number ? Value(*number) : absent;
}

Value ToFloat(Call& call) {
  RequireDefined(call.self);
  if (call.self.IsNumber()) return AsDouble(call.self);
  if (const Text* text = call.self.AsText()) {
    if (const std::optional<double> number = ParseFloat(text->text)) return *number;
  }
  return call.Has(0) ? call[0] : Value(0.0);
}

Value Absolute(Call& call) {
  if (!call.self.IsNumber()) {
    RequireDefined(call.self);
    Fail({"abs needs a number, not a ", TypeName(call.self)});
  }
  if (call.self.Is<double>()) return std::fabs(AsDouble(call.self));
  return Truth(Less(call.meter, call.self, 0)) ? Negate(call.self) : Confirm(call.self);
}

// To `places` decimals, exactly and half to even, as Python does.
double RoundTo(double number, Int places) {
  if (!std::isfinite(number) || places > 400) return number;
  std::string text(800, '\0');
  std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(places), number);
  return std::strtod(text.c_str(), nullptr);
}

Value Round(Call& call) {
  if (!call.self.IsNumber()) {
    RequireDefined(call.self);
    Fail({"round needs a number, not a ", TypeName(call.self)});
  }
  const Int places = call.Integer(0, 0);
  if (places < 0) Unsupported({"a negative precision of round is not supported"});
  if (!call.self.Is<double>()) return Confirm(call.self);
  return RoundTo(AsDouble(call.self), places);
}

// Items

// item["a"]["b"] for the attribute "a.b"; digits are indices.
Value Attribute(Meter& meter, Value item, const Value& attribute, const Value& absent = {}) {
  if (attribute.IsNone()) return item;
  std::vector<Value> parts;
  if (const Text* text = attribute.AsText()) {
    for (const std::string_view part : Split(text->text, ".", -1, /*from_right=*/false)) {
      const std::optional<Int> index = ParseInt(part);
      parts.push_back(index ? Value(*index) : Value(part));
    }
  } else {
    parts = {attribute};
  }
  for (const Value& part : parts) {
    item = GetItem(meter, item, part);
    if (item.IsUndefined() && !absent.IsNone()) item = absent;
  }
  return item;
}

Value IgnoreCase(const Value& value) { return value.IsString() ? Value(Lower(value.AsText()->text)) : value; }

std::vector<Value> SortBy(Meter& meter, std::vector<Value> items, std::vector<Value> keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? Less(meter, keys[b], keys[a]) : Less(meter, keys[a], keys[b]);
  });
  std::vector<Value> sorted;
  for (const size_t i : order) sorted.push_back(std::move(items[i]));
  return sorted;
}

Value Sort(Call& call) {
  std::vector<Value> items = Items(call.meter, call.self);
  std::vector<Value> keys;
  for (const Value& item : items) {
    const Value key = Attribute(call.meter, item, call.Has(2) ? call[2] : Value());
    keys.push_back(
        MakeTuple({call.Flag(1, false) ? key : IgnoreCase(key)}));  // tuples order even undefined values
  }
  return MakeList(SortBy(call.meter, std::move(items), std::move(keys), call.Flag(0, false)));
}

Value SortDict(Call& call) {
  const Dict* dict = call.self.AsDict();
  if (dict == nullptr) {
    RequireDefined(call.self);
    Fail({"dictsort needs a dict, not a ", TypeName(call.self)});
  }
  const std::string_view by = call.OptionalString(1).value_or("key");
  if (by != "key" && by != "value") Fail({"dictsort sorts by key or by value"});
  std::vector<Value> items, keys;
  for (const auto& [key, value] : dict->items) {
    items.push_back(MakeTuple({key, value}));
    const Value& wanted = by == "key" ? key : value;
    keys.push_back(call.Flag(0, false) ? wanted : IgnoreCase(wanted));
  }
  return MakeList(SortBy(call.meter, std::move(items), std::move(keys), call.Flag(2, false)));
}

Value Unique(Call& call) {
  std::vector<Value> keys, chosen;
  for (const Value& item : Items(call.meter, call.self)) {
    Value key = Attribute(call.meter, item, call.Has(1) ? call[1] : Value());
    if (!call.Flag(0, false)) key = IgnoreCase(key);
    RequireHashable(key);
    call.meter.ChargeItems(keys.size());
    const bool known = std::any_of(keys.begin(), keys.end(),
                                   [&](const Value& other) { return Equal(call.meter, other, key); });
    if (known) continue;
    keys.push_back(std::move(key));
    chosen.push_back(item);
  }
  return MakeIterator(std::move(chosen));
}

template <bool largest>
Value Extreme(Call& call) {
  const std::vector<Value> items = Items(call.meter, call.self);
  if (items.empty()) return MakeUndefined("there is no smallest or largest of no items");
  const auto key = [&](const Value& item) {
    const Value value = Attribute(call.meter, item, call.Has(1) ? call[1] : Value());
    return call.Flag(0, false) ? value : IgnoreCase(value);
  };
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    const bool better = largest ? Less(call.meter, key(items[best]), key(items[i]))
                                : Less(call.meter, key(items[i]), key(items[best]));
    if (better) best = i;
  }
  return items[best];
}

Value Sum(Call& call) {
  Value sum = call.Has(1) ? call[1] : Value(0);
  if (sum.IsString()) Fail({"sum does not add strings; use join"});
  for (const Value& item : Items(call.meter, call.self)) {
    sum = Calculate(call.meter, Operator::kAdd, sum,
                    Attribute(call.meter, item, call.Has(0) ? call[0] : Value()));
  }
  return sum;
}

Value Join(Call& call) {
  const std::string separator = call.Printed(0);
  std::string text;
  bool first = true;
  for (const Value& item : Items(call.meter, call.self)) {
    if (!first) {
      call.meter.Charge(separator.size());
      text += separator;
    }
    first = false;
    text += Print(call.meter, Attribute(call.meter, item, call.Has(1) ? call[1] : Value()));
  }
  return text;
}

Value First(Call& call) {
  if (Iterator* iterator = call.self.AsIterator()) {
    if (iterator->next < iterator->items.size()) return iterator->items[iterator->next++];
    return MakeUndefined("there is no first item of no items");
  }
  if (const Sequence* sequence = call.self.AsSequence(); sequence != nullptr && !sequence->items.empty()) {
    return sequence->items.front();
  }
  const std::vector<Value> items = Items(call.meter, call.self);
  return items.empty() ? MakeUndefined("there is no first item of no items") : items.front();
}

Value Last(Call& call) {
  if (call.self.AsIterator() != nullptr) Fail({"a generator has no end that is known: make it a list first"});
  const std::vector<Value> items = Items(call.meter, call.self);
  return items.empty() ? MakeUndefined("there is no last item of no items") : items.back();
}

Value Reverse(Call& call) {
  if (const Text* text = call.self.AsText()) {
    std::u32string code_points = ToCodePoints(text->text);
    std::reverse(code_points.begin(), code_points.end());
    return ToUtf8(code_points);
  }
  const bool iterator = call.self.AsIterator() != nullptr;
  std::vector<Value> items = Items(call.meter, call.self);
  std::reverse(items.begin(), items.end());
  return iterator ? MakeList(std::move(items)) : MakeIterator(std::move(items));
}

Value DictItems(Call& call) {
  std::vector<Value> items;
  if (!call.self.IsUndefined()) {
    const Dict* dict = call.self.AsDict();
    if (dict == nullptr) Fail({"items needs a dict, not a ", TypeName(call.self)});
    call.meter.ChargeItems(4 * dict->items.size());
    for (const auto& [key, value] : dict->items) items.push_back(MakeTuple({key, value}));
  }
  return MakeIterator(std::move(items));
}

Value CountItems(Call& call) {
  const int64_t length = Length(call.meter, call.self);
  if (length < 0) Fail({"a ", TypeName(call.self), " has no length"});
  return length;
}

// What map, select and the like walk over: nothing where the value counts as false, even where it has no
// items.
std::vector<Value> ItemsIfAny(Call& call) {
  return Truth(call.self) ? Items(call.meter, call.self) : std::vector<Value>();
}

// Takes the name of a filter or test from the arguments by position.
std::string TakeName(Arguments& arguments) {
  const Text* name = arguments.positional.front().AsText();
  if (name == nullptr) Fail({"the name of a filter or test is a string"});
  std::string text = name->text;
  arguments.positional.erase(arguments.positional.begin());
  return text;
}

Value Map(Call& call) {
  Arguments arguments = call.arguments;
  std::function<Value(const Value&)> apply;
  if (arguments.positional.empty()) {
    Value attribute, absent;
    for (const auto& [name, value] : arguments.keywords) {
      if (name != "attribute" && name != "default") Fail({"map has no argument '", name, "'"});
      (name == "attribute" ? attribute : absent) = value;
    }
    if (attribute.IsNone()) Fail({"map needs the name of a filter, or an attribute"});
    apply = [&call, attribute, absent](const Value& item) {
      return Attribute(call.meter, item, attribute, absent);
    };
  } else {
    const std::string name = TakeName(arguments);
    apply = [&call, name, arguments](const Value& item) {
      return call.interpreter.CallFilter(name, item, arguments);
    };
  }
  std::vector<Value> mapped;
  for (const Value& item : ItemsIfAny(call)) mapped.push_back(apply(item));
  return MakeIterator(std::move(mapped));
}

template <bool keep, bool by_attribute>
Value Select(Call& call) {
  Arguments arguments = call.arguments;
  Value attribute;
  if (by_attribute) {
    if (arguments.positional.empty()) Fail({"selectattr and rejectattr need the name of an attribute"});
    attribute = arguments.positional.front();
    arguments.positional.erase(arguments.positional.begin());
  }
  const bool by_test = !arguments.positional.empty();
  const std::string test = by_test ? TakeName(arguments) : "";
  std::vector<Value> chosen;
  for (const Value& item : ItemsIfAny(call)) {
    const Value subject = Attribute(call.meter, item, attribute);
    const bool passes = by_test ? call.interpreter.CallTest(test, subject, arguments) : Truth(subject);
    if (passes == keep) chosen.push_back(item);
  }
  return MakeIterator(std::move(chosen));
}

Value Default(Call& call) {
  const bool absent = call.self.IsUndefined() || (call.Flag(1, false) && !Truth(call.self));
  if (!absent) return call.self;
  return call.Has(0) ? call[0] : Value("");
}

constexpr Builtin kFilters[] = {
    {"abs", "", Absolute},
    {"capitalize", "", Recase<Capitalize>},
    {"count", "", CountItems},
    {"d", "default_value? boolean?", Default},
    {"default", "default_value? boolean?", Default},
    {"dictsort", "case_sensitive? by? reverse?", SortDict},
    {"e", "", MakeSafe<true>},
    {"escape", "", MakeSafe<true>},
    {"first", "", First},
    {"float", "default?", ToFloat},
    {"format", "*", Format},
    {"indent", "width? first? blank?", Indent},
    {"int", "default?", ToInt},
    {"items", "", DictItems},
    {"join", "d? attribute?", Join},
    {"last", "", Last},
    {"length", "", CountItems},
    {"list", "", [](Call& call) { return MakeList(Items(call.meter, call.self)); }},
    {"lower", "", Recase<Lower>},
    {"map", "*", Map},
    {"max", "case_sensitive? attribute?", Extreme<true>},
    {"min", "case_sensitive? attribute?", Extreme<false>},
    {"reject", "*", Select<false, false>},
    {"rejectattr", "*", Select<false, true>},
    {"replace", "old new count?", Replace},
    {"reverse", "", Reverse},
    {"round", "precision?", Round},
    {"safe", "", MakeSafe<false>},
    {"select", "*", Select<true, false>},
    {"selectattr", "*", Select<true, true>},
    {"sort", "reverse? case_sensitive? attribute?", Sort},
    {"string", "", [](Call& call) -> Value { return Print(call.meter, call.self); }},
    {"sum", "attribute? start?", Sum},
    {"title", "", [](Call& call) -> Value { return TitleWords(Print(call.meter, call.self)); }},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", WriteJson},
    {"trim", "chars?", Trim},
    {"unique", "case_sensitive? attribute?", Unique},
    {"upper", "", Recase<Upper>},
};

}  // namespace

const Builtin* FindFilter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [&](const Builtin& filter) { return filter.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace longspan::jinja
