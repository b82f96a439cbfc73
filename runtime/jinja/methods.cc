// The methods of strings, dicts and lists.
#include <algorithm>
#include <span>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/format.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/text.h"

namespace longspan::jinja {
namespace {

// Strings

const std::string& Self(const Call& call) { return call.self.AsText()->text; }

Value ListOf(const Call& call, const std::vector<std::string_view>& parts) {
  call.meter.Charge(parts.size(), 64);
  return MakeList({parts.begin(), parts.end()});
}

template <bool left, bool right>
Value Strip(Call& call) {
  std::string_view text = Self(call);
  if (left) text = StripLeft(text, call.OptionalString(0));
  if (right) text = StripRight(text, call.OptionalString(0));
  return text;
}

template <std::string (*recase)(std::string_view)>
Value Recase(Call& call) {
  return recase(Self(call));
}

std::string_view Separator(const Call& call) {
  const std::string_view separator = call.String(0);
  if (separator.empty()) Fail({call.function, " needs a separator that is not empty"});
  return separator;
}

template <bool from_right>
Value SplitText(Call& call) {
  const auto most = static_cast<int64_t>(call.Integer(1, -1));
  if (call.OptionalString(0)) return ListOf(call, Split(Self(call), Separator(call), most, from_right));
  if (from_right && most >= 0) Unsupported({"rsplit with a limit is not supported without a separator"});
  return ListOf(call, SplitAtSpace(Self(call), most));
}

Value Partition(Call& call) {
  const std::string& text = Self(call);
  const std::string_view separator = Separator(call);
  const size_t at = text.find(separator);
  if (at == text.npos) return MakeTuple({text, "", ""});
  return MakeTuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

// In characters; -1 when the argument is not there.
template <bool from_right>
Value FindText(Call& call) {
  const std::string_view text = Self(call);
  const size_t at = from_right ? text.rfind(call.String(0)) : text.find(call.String(0));
  return at == text.npos ? Value(-1) : Value(CountCharacters(text.substr(0, at)));
}

Value CountText(Call& call) {
  const std::string& text = Self(call);
  const std::string_view part = call.String(0);
  if (part.empty()) return CountCharacters(text) + 1;
  Int count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++count;
  return count;
}

// The argument may be a tuple of edges, one of which must be there.
template <bool at_end>
Value HasEdge(Call& call) {
  const Sequence* tuple = call[0].AsSequence();
  const bool is_tuple = tuple != nullptr && tuple->type == Sequence::Type::kTuple;
  for (const Value& edge : is_tuple ? tuple->items : std::vector<Value>{call[0]}) {
    const Text* text = edge.AsText();
    if (text == nullptr) {
      RequireDefined(edge);
      Fail({call.function, " needs a string, not a ", TypeName(edge)});
    }
    if (at_end ? Self(call).ends_with(text->text) : Self(call).starts_with(text->text)) return true;
  }
  return false;
}

Value Replace(Call& call) {
  return ReplaceText(call.meter, Self(call), call.String(0), call.String(1),
                     static_cast<int64_t>(call.Integer(2, -1)));
}

Value Join(Call& call) {
  std::string text;
  bool first = true;
  for (const Value& item : Items(call.meter, call[0])) {
    const Text* part = item.AsText();
    if (part == nullptr) {
      RequireDefined(item);
      Fail({"join needs strings, not a ", TypeName(item)});
    }
    if (!first) text += Self(call);
    first = false;
    call.meter.Charge(Self(call).size() + part->text.size());
    text += part->text;
  }
  return text;
}

template <bool at_end>
Value RemoveEdge(Call& call) {
  std::string_view text = Self(call);
  const std::string_view edge = call.String(0);
  if (!at_end && text.starts_with(edge)) text.remove_prefix(edge.size());
  if (at_end && text.ends_with(edge)) text.remove_suffix(edge.size());
  return text;
}

constexpr Builtin kStringMethods[] = {
    {"capitalize", "", Recase<Capitalize>},
    {"count", "sub", CountText},
    {"endswith", "suffix", HasEdge<true>},
    {"find", "sub", FindText<false>},
    {"format", "*", [](Call& call) { return FormatBraces(call.meter, Self(call), call.arguments); }},
    {"isdigit", "", [](Call& call) -> Value { return AreDigits(Self(call)); }},
    {"join", "iterable", Join},
    {"lower", "", Recase<Lower>},
    {"lstrip", "chars?", Strip<true, false>},
    {"partition", "sep", Partition},
    {"removeprefix", "prefix", RemoveEdge<false>},
    {"removesuffix", "suffix", RemoveEdge<true>},
    {"replace", "old new count?", Replace},
    {"rfind", "sub", FindText<true>},
    {"rsplit", "sep? maxsplit?", SplitText<true>},
    {"rstrip", "chars?", Strip<false, true>},
    {"split", "sep? maxsplit?", SplitText<false>},
    {"splitlines", "keepends?",
     [](Call& call) { return ListOf(call, SplitLines(Self(call), call.Flag(0, false))); }},
    {"startswith", "prefix", HasEdge<false>},
    {"strip", "chars?", Strip<true, true>},
    {"title", "", Recase<Title>},
    {"upper", "", Recase<Upper>},
};

// Dicts

template <Sequence::Type type>
Value View(Call& call) {
  std::vector<Value> items;
  call.meter.ChargeItems(4 * call.self.AsDict()->items.size());
  for (const auto& [key, value] : call.self.AsDict()->items) {
    if (type == Sequence::Type::kKeys) items.push_back(key);
    if (type == Sequence::Type::kValues) items.push_back(value);
    if (type == Sequence::Type::kItems) items.push_back(MakeTuple({key, value}));
  }
  return MakeSequence(type, std::move(items));
}

constexpr Builtin kDictMethods[] = {
    {"copy", "", [](Call& call) { return call.self; }},
    {"get", "key default?",
     [](Call& call) {
       RequireHashable(call[0]);
       const Value* found = call.self.AsDict()->Find(call[0]);
       return found != nullptr ? *found : call.Has(1) ? call[1] : Value();
     }},
    {"items", "", View<Sequence::Type::kItems>},
    {"keys", "", View<Sequence::Type::kKeys>},
    {"values", "", View<Sequence::Type::kValues>},
};

// Lists and tuples

Value PlaceOfItem(Call& call) {
  const std::vector<Value>& items = call.self.AsSequence()->items;
  call.meter.ChargeItems(items.size());
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const Value& item) { return Equal(call.meter, item, call[0]); });
  if (found == items.end()) Fail({"index does not find the item"});
  return static_cast<Int>(found - items.begin());
}

Value CountItem(Call& call) {
  const std::vector<Value>& items = call.self.AsSequence()->items;
  call.meter.ChargeItems(items.size());
  return static_cast<Int>(std::count_if(items.begin(), items.end(),
                                        [&](const Value& item) { return Equal(call.meter, item, call[0]); }));
}

constexpr Builtin kSequenceMethods[] = {
    {"copy", "", [](Call& call) { return call.self; }},
    {"count", "value", CountItem},
    {"index", "value", PlaceOfItem},
};

std::span<const Builtin> MethodsOf(const Value& value) {
  if (value.IsString()) return kStringMethods;
  if (value.AsDict() != nullptr) return kDictMethods;
  if (const Sequence* sequence = value.AsSequence()) {
    if (sequence->type == Sequence::Type::kList) return kSequenceMethods;
    if (sequence->has_items()) return std::span(kSequenceMethods).subspan(1);  // without copy
  }
  return {};
}

}  // namespace

const Builtin* FindMethod(const Value& value, std::string_view name) {
  for (const Builtin& method : MethodsOf(value)) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

bool IsForbiddenMethod(const Value& value, std::string_view name) {
  constexpr std::string_view kOfDicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
  constexpr std::string_view kOfLists[] = {"append", "clear",  "extend",  "insert",
                                           "pop",    "remove", "reverse", "sort"};
  std::span<const std::string_view> names;
  if (value.AsDict() != nullptr) names = kOfDicts;
  if (const Sequence* sequence = value.AsSequence();
      sequence != nullptr && sequence->type == Sequence::Type::kList) {
    names = kOfLists;
  }
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace longspan::jinja
