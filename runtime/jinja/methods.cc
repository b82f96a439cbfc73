// The methods of strings, dicts, lists and of the variable `loop`.
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

// What a method of a string gives is as safe as the string.
Value Like(const Call& call, std::string text) { return Value(std::move(text), call.self.AsText()->safe); }

// An argument that a string takes; a safe one takes it escaped.
std::string Argument(const Call& call, size_t i) {
  const std::string text(call.String(i));
  return call.self.AsText()->safe && !call[i].AsText()->safe ? EscapeHtml(text) : text;
}

std::optional<std::string> OptionalArgument(const Call& call, size_t i) {
  return call.OptionalString(i) ? std::optional(Argument(call, i)) : std::nullopt;
}

Value ListLike(const Call& call, const std::vector<std::string_view>& parts) {
  call.meter.Charge(parts.size(), 64);
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(Like(call, std::string(part)));
  return MakeList(std::move(items));
}

template <bool left, bool right>
Value Strip(Call& call) {
  const std::optional<std::string> characters = OptionalArgument(call, 0);
  std::string_view text = Self(call);
  if (left) text = StripLeft(text, characters);
  if (right) text = StripRight(text, characters);
  return Like(call, std::string(text));
}

template <std::string (*recase)(std::string_view)>
Value Recase(Call& call) {
  return Like(call, recase(Self(call)));
}

template <bool from_right>
Value SplitText(Call& call) {
  const std::optional<std::string_view> separator = call.OptionalString(0);
  if (separator && separator->empty()) Fail({call.function, " needs a separator that is not empty"});
  return ListLike(call, Split(Self(call), separator, static_cast<int64_t>(call.Integer(1, -1)), from_right));
}

template <bool from_right>
Value Partition(Call& call) {
  const std::string separator = Argument(call, 0);
  if (separator.empty()) Fail({call.function, " needs a separator that is not empty"});
  const std::string& text = Self(call);
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<std::string> parts;
  if (at != text.npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (from_right) {
    parts = {"", "", text};
  } else {
    parts = {text, "", ""};
  }
  std::vector<Value> items;
  for (std::string& part : parts) items.push_back(Like(call, std::move(part)));
  return MakeTuple(std::move(items));
}

// The bytes that characters `start` to `stop` (arguments 1 and 2) take.
std::pair<size_t, size_t> Window(const Call& call) {
  const std::string& text = Self(call);
  const auto count = static_cast<Int>(CountCharacters(text));
  const auto place = [&](size_t i, Int absent) {
    Int index = call.OptionalInteger(i, absent);
    if (index < 0) index = std::max<Int>(0, index + count);
    return std::min(index, count + 1);
  };
  const Int first = place(1, 0), last = std::min(place(2, count), count);
  if (first > last) return {1, 0};  // holds nothing, not even the empty string
  size_t begin = 0;
  for (Int i = 0; i < first; ++i) begin += CharacterLength(text, begin);
  size_t end = begin;
  for (Int i = first; i < last; ++i) end += CharacterLength(text, end);
  return {begin, end};
}

// In characters; -1 when the argument is not there.
template <bool from_right>
Int FindText(Call& call) {
  const auto [begin, end] = Window(call);
  if (begin > end) return -1;
  const std::string_view window = std::string_view(Self(call)).substr(begin, end - begin);
  const std::string_view part = call.String(0);
  const size_t at = from_right ? window.rfind(part) : window.find(part);
  if (at == window.npos) return -1;
  return static_cast<Int>(CountCharacters(std::string_view(Self(call)).substr(0, begin + at)));
}

template <bool from_right>
Value FindPlace(Call& call) {
  return FindText<from_right>(call);
}

template <bool from_right>
Value RequirePlace(Call& call) {
  const Int place = FindText<from_right>(call);
  if (place < 0) Fail({call.function, " does not find the text"});
  return place;
}

Value CountText(Call& call) {
  const auto [begin, end] = Window(call);
  if (begin > end) return 0;
  const std::string_view window = std::string_view(Self(call)).substr(begin, end - begin);
  const std::string_view part = call.String(0);
  if (part.empty()) return CountCharacters(window) + 1;
  Int count = 0;
  for (size_t at = 0; (at = window.find(part, at)) != window.npos; at += part.size()) ++count;
  return count;
}

template <bool at_end>
Value HasEdge(Call& call) {
  const auto [begin, end] = Window(call);
  std::vector<Value> edges = {call[0]};
  if (const Sequence* tuple = call[0].AsSequence();
      tuple != nullptr && tuple->type == Sequence::Type::kTuple) {
    edges = tuple->items;
  }
  for (const Value& edge : edges) {
    const Text* text = edge.AsText();
    if (text == nullptr) {
      RequireDefined(edge);
      Fail({call.function, " needs a string, not a ", TypeName(edge)});
    }
    if (begin > end) continue;
    const std::string_view window = std::string_view(Self(call)).substr(begin, end - begin);
    if (at_end ? window.ends_with(text->text) : window.starts_with(text->text)) return true;
  }
  return false;
}

Value Replace(Call& call) {
  const std::string& text = Self(call);
  const std::string old_text = Argument(call, 0), new_text = Argument(call, 1);
  const Int most = call.Integer(2, -1);
  return Like(call, ReplaceText(call.meter, text, old_text, new_text, most));
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
    text += call.self.AsText()->safe && !part->safe ? EscapeHtml(part->text) : part->text;
  }
  return Like(call, std::move(text));
}

enum class Side { kLeft, kCenter, kRight };

template <Side side>
Value Justify(Call& call) {
  return Like(call, Pad(call.meter, Self(call), call.Integer(0, 0), call.OptionalString(1).value_or(" "),
                        side != Side::kRight, side != Side::kLeft));
}

Value ZeroFill(Call& call) {
  const std::string& text = Self(call);
  const size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return Like(call,
              text.substr(0, sign) + Pad(call.meter, std::string_view(text).substr(sign),
                                         call.Integer(0, 0) - static_cast<Int>(sign), "0", false, true));
}

template <bool at_end>
Value RemoveEdge(Call& call) {
  std::string_view text = Self(call);
  const std::string edge = Argument(call, 0);
  if (!at_end && text.starts_with(edge)) text.remove_prefix(edge.size());
  if (at_end && text.ends_with(edge)) text.remove_suffix(edge.size());
  return Like(call, std::string(text));
}

template <CharacterClass wanted>
Value IsAll(Call& call) {
  return AllAre(Self(call), wanted);
}

template <CharacterClass wanted>
Value IsCased(Call& call) {
  return HasCase(Self(call), wanted);
}

constexpr Builtin kStringMethods[] = {
    {"capitalize", "", Recase<Capitalize>},
    {"center", "width fillchar?", Justify<Side::kCenter>},
    {"count", "sub start? end?", CountText},
    {"endswith", "suffix start? end?", HasEdge<true>},
    {"find", "sub start? end?", FindPlace<false>},
    {"format", "*", [](Call& call) { return FormatBraces(call.meter, *call.self.AsText(), call.arguments); }},
    {"index", "sub start? end?", RequirePlace<false>},
    {"isalnum", "", [](Call& call) -> Value { return AllAreAlphanumeric(Self(call)); }},
    {"isalpha", "", IsAll<CharacterClass::kLetter>},
    {"isdecimal", "", IsAll<CharacterClass::kDecimal>},
    {"isdigit", "", IsAll<CharacterClass::kDigit>},
    {"islower", "", IsCased<CharacterClass::kLower>},
    {"isspace", "", IsAll<CharacterClass::kSpace>},
    {"isupper", "", IsCased<CharacterClass::kUpper>},
    {"join", "iterable", Join},
    {"ljust", "width fillchar?", Justify<Side::kLeft>},
    {"lower", "", Recase<Lower>},
    {"lstrip", "chars?", Strip<true, false>},
    {"partition", "sep", Partition<false>},
    {"removeprefix", "prefix", RemoveEdge<false>},
    {"removesuffix", "suffix", RemoveEdge<true>},
    {"replace", "old new count?", Replace},
    {"rfind", "sub start? end?", FindPlace<true>},
    {"rindex", "sub start? end?", RequirePlace<true>},
    {"rjust", "width fillchar?", Justify<Side::kRight>},
    {"rpartition", "sep", Partition<true>},
    {"rsplit", "sep? maxsplit?", SplitText<true>},
    {"rstrip", "chars?", Strip<false, true>},
    {"split", "sep? maxsplit?", SplitText<false>},
    {"splitlines", "keepends?",
     [](Call& call) { return ListLike(call, SplitLines(Self(call), call.Flag(0, false))); }},
    {"startswith", "prefix start? end?", HasEdge<false>},
    {"strip", "chars?", Strip<true, true>},
    {"title", "", Recase<Title>},
    {"upper", "", Recase<Upper>},
    {"zfill", "width", ZeroFill},
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

// The variable `loop`

Value Cycle(Call& call) {
  if (call.arguments.positional.empty()) Fail({"loop.cycle needs items"});
  return call.arguments.positional[call.self.AsLoop()->index0 % call.arguments.positional.size()];
}

constexpr Builtin kLoopMethods[] = {
    {"cycle", "*", Cycle},
};

std::span<const Builtin> MethodsOf(const Value& value) {
  if (value.IsString()) return kStringMethods;
  if (value.AsDict() != nullptr) return kDictMethods;
  if (value.AsLoop() != nullptr) return kLoopMethods;
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
