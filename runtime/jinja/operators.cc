#include "runtime/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/format.h"
#include "runtime/jinja/text.h"

namespace longspan::jinja {
namespace {

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%"};

[[noreturn]] void WrongOperands(Operator op, const Value& a, const Value& b) {
  RequireDefined(a);
  RequireDefined(b);
  Fail({"a ", TypeName(a), " and a ", TypeName(b), " cannot be combined with ",
        kSymbols[static_cast<size_t>(op)]});
}

[[noreturn]] void TooLarge() { Fail({"a number is too large"}); }

void RequireDivisor(bool zero) {
  if (zero) Fail({"division by zero"});
}

Int FloorDivide(Int a, Int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

Value CalculateIntegers(Operator op, Int a, Int b) {
  Int result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) TooLarge();
      return result;
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) TooLarge();
      return result;
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) TooLarge();
      return result;
    case Operator::kDivide:
      RequireDivisor(b == 0);
      return static_cast<double>(a) / static_cast<double>(b);
    default:  // kFloorDivide and kModulo
      RequireDivisor(b == 0);
      // The one division that overflows.
      if (b == -1 && __builtin_sub_overflow(Int{0}, a, &result)) TooLarge();
      if (b == -1) return op == Operator::kModulo ? Int{0} : result;
      return op == Operator::kFloorDivide ? FloorDivide(a, b) : a - FloorDivide(a, b) * b;
  }
}

Value CalculateFloats(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return a + b;
    case Operator::kSubtract:
      return a - b;
    case Operator::kMultiply:
      return a * b;
    case Operator::kDivide:
      RequireDivisor(b == 0);
      return a / b;
    default: {  // kFloorDivide and kModulo
      RequireDivisor(b == 0);
      double remainder = std::fmod(a, b);
      double quotient = (a - remainder) / b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        remainder += b;
        quotient -= 1;
      }
      if (op == Operator::kModulo) return remainder == 0 ? std::copysign(0.0, b) : remainder;
      if (quotient == 0) return std::copysign(0.0, a / b);
      const double floor = std::floor(quotient);
      return quotient - floor > 0.5 ? floor + 1 : floor;
    }
  }
}

Value AddTexts(Meter& meter, const Text& a, const Text& b) {
  meter.Charge(a.text.size() + b.text.size());
  if (a.safe == b.safe) return Value(a.text + b.text, a.safe);
  return Value(a.safe ? a.text + EscapeHtml(b.text) : EscapeHtml(a.text) + b.text, /*safe=*/true);
}

Value Repeat(Meter& meter, const Value& value, Int count) {
  const auto times = static_cast<size_t>(std::clamp<Int>(count, 0, std::numeric_limits<int64_t>::max()));
  if (const Text* text = value.AsText()) {
    meter.Charge(times, text->text.size());
    std::string result;
    if (!text->text.empty()) {
      for (size_t i = 0; i < times; ++i) result += text->text;
    }
    return result;
  }
  const Sequence& sequence = *value.AsSequence();
  meter.Charge(times, 16 * sequence.items.size());
  std::vector<Value> items;
  if (!sequence.items.empty()) {
    for (size_t i = 0; i < times; ++i)
      items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return MakeSequence(sequence.type, std::move(items));
}

bool IsRepeatable(const Value& value) {
  const Sequence* sequence = value.AsSequence();
  return value.IsString() || (sequence != nullptr && sequence->type <= Sequence::Type::kTuple);
}

Value NoAttribute(const Value& value, std::string_view name) {
  return MakeUndefined(Concatenate({value.IsNone() ? "None" : Concatenate({"'", TypeName(value), " object'"}),
                                    " has no attribute '", name, "'"}));
}

Value AttributeOfLoop(const Loop& loop, std::string_view name) {
  const size_t length = loop.items.size();
  if (name == "index") return loop.index0 + 1;
  if (name == "index0") return loop.index0;
  if (name == "revindex") return length - loop.index0;
  if (name == "revindex0") return length - loop.index0 - 1;
  if (name == "first") return loop.index0 == 0;
  if (name == "last") return loop.index0 + 1 == length;
  if (name == "length") return length;
  if (name == "depth") return 1;
  if (name == "depth0") return 0;
  if (name == "previtem") {
    return loop.index0 == 0 ? MakeUndefined("there is no previous item") : loop.items[loop.index0 - 1];
  }
  if (name == "nextitem") {
    return loop.index0 + 1 >= length ? MakeUndefined("there is no next item") : loop.items[loop.index0 + 1];
  }
  return MakeUndefined(Concatenate({"'LoopContext object' has no attribute '", name, "'"}));
}

// The methods and attributes that Python finds before items; Undefined without a reason when there is none.
std::optional<Value> Member(const Value& value, std::string_view name) {
  if (IsForbiddenMethod(value, name) || (name.size() > 4 && name.starts_with("__") && name.ends_with("__"))) {
    return MakeUndefined(
        Concatenate({"access to attribute '", name, "' of '", TypeName(value), "' object is unsafe"}));
  }
  if (const Namespace* names = value.AsNamespace()) {
    const Value* found = names->Find(name);
    return found == nullptr ? std::optional<Value>() : *found;
  }
  if (const Builtin* method = FindMethod(value, name)) {
    return Value(Value::Data(std::make_shared<const Function>(Function{method, value})));
  }
  if (const Loop* loop = value.AsLoop()) return AttributeOfLoop(*loop, name);
  return std::nullopt;
}

// The place of an index in a sequence of this length; nothing when it is outside.
std::optional<size_t> PlaceOf(Int index, size_t length) {
  const auto size = static_cast<Int>(length);
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  return static_cast<size_t>(index);
}

// Items that a slice selects, as Python's slice.indices.
struct Selection {
  Int start, stop, step;
};

Selection Select(const Value& start, const Value& stop, const Value& step, size_t length) {
  const auto bound = [](const Value& value, Int absent) {
    Int number = absent;
    if (!value.IsNone() && !value.AsInteger(&number)) {
      RequireDefined(value);
      Fail({"a slice needs whole numbers, not a ", TypeName(value)});
    }
    return number;
  };
  Selection selection{0, 0, bound(step, 1)};
  if (selection.step == 0) Fail({"the step of a slice is 0"});
  const auto size = static_cast<Int>(length);
  const bool backward = selection.step < 0;
  // A step beyond the length selects one item at most, like the length itself.
  selection.step = std::clamp<Int>(selection.step, -size - 1, size + 1);
  const auto place = [&](const Value& value, Int absent) {
    if (value.IsNone()) return absent;
    Int index = bound(value, 0);
    if (index < 0) index += size;
    return std::clamp<Int>(index, backward ? -1 : 0, backward ? size - 1 : size);
  };
  selection.start = place(start, backward ? size - 1 : 0);
  selection.stop = place(stop, backward ? -1 : size);
  return selection;
}

template <typename Items>
Items Pick(const Items& items, const Selection& selection) {
  Items picked;
  for (Int i = selection.start; selection.step > 0 ? i < selection.stop : i > selection.stop;
       i += selection.step) {
    picked.push_back(items[static_cast<size_t>(i)]);
  }
  return picked;
}

}  // namespace

void RequireDefined(const Value& value) {
  if (const Undefined* undefined = value.As<Undefined>()) Fail({*undefined->reason});
}

Value Calculate(Meter& meter, Operator op, const Value& a, const Value& b) {
  Int x = 0, y = 0;
  const bool integer_a = a.AsInteger(&x), integer_b = b.AsInteger(&y);
  if (integer_a && integer_b) return CalculateIntegers(op, x, y);
  if (a.IsNumber() && b.IsNumber()) return CalculateFloats(op, AsDouble(a), AsDouble(b));
  if (op == Operator::kAdd) {
    if (a.IsString() && b.IsString()) return AddTexts(meter, *a.AsText(), *b.AsText());
    const Sequence* left = a.AsSequence();
    const Sequence* right = b.AsSequence();
    if (left != nullptr && right != nullptr && left->type == right->type &&
        left->type <= Sequence::Type::kTuple) {
      meter.ChargeItems(left->items.size() + right->items.size());
      std::vector<Value> items = left->items;
      items.insert(items.end(), right->items.begin(), right->items.end());
      return MakeSequence(left->type, std::move(items));
    }
  }
  if (op == Operator::kMultiply) {
    if (IsRepeatable(a) && integer_b) return Repeat(meter, a, y);
    if (IsRepeatable(b) && integer_a) return Repeat(meter, b, x);
  }
  if (op == Operator::kModulo && a.IsString()) return FormatPercent(meter, a.AsText()->text, b);
  WrongOperands(op, a, b);
}

Value Negate(const Value& value) {
  Int integer = 0;
  if (value.AsInteger(&integer)) return CalculateIntegers(Operator::kSubtract, 0, integer);
  if (const double* number = value.As<double>()) return -*number;
  RequireDefined(value);
  Fail({"a ", TypeName(value), " has no negative"});
}

Value Confirm(const Value& value) {
  Int integer = 0;
  if (value.AsInteger(&integer)) return integer;
  if (value.IsNumber()) return value;
  RequireDefined(value);
  Fail({"+ needs a number, not a ", TypeName(value)});
}

bool Contains(Meter& meter, const Value& container, const Value& item) {
  if (const Text* text = container.AsText()) {
    const Text* part = item.AsText();
    if (part == nullptr) {
      Fail({"whether a string holds something needs a string, not a ", TypeName(item)});
    }
    meter.Charge(text->text.size());
    return text->text.find(part->text) != std::string::npos;
  }
  if (const Dict* dict = container.AsDict()) {
    RequireHashable(item);
    return dict->Find(item) != nullptr;
  }
  const std::vector<Value> items = Items(meter, container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& other) { return Equal(meter, other, item); });
}

bool Compare(Meter& meter, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return Equal(meter, a, b);
    case Operator::kNotEqual:
      return !Equal(meter, a, b);
    case Operator::kLess:
      return Less(meter, a, b);
    case Operator::kLessEqual:
      return Less(meter, a, b) || Equal(meter, a, b);
    case Operator::kGreater:
      return Less(meter, b, a);
    case Operator::kGreaterEqual:
      return Less(meter, b, a) || Equal(meter, a, b);
    case Operator::kIn:
      return Contains(meter, b, a);
    default:
      return !Contains(meter, b, a);
  }
}

Value GetAttribute(const Value& value, std::string_view name) {
  RequireDefined(value);
  if (std::optional<Value> member = Member(value, name)) return *std::move(member);
  if (const Dict* dict = value.AsDict()) {
    if (const Value* item = dict->Find(name)) return *item;
  }
  return NoAttribute(value, name);
}

Value GetItem(Meter& meter, const Value& value, const Value& key) {
  RequireDefined(value);
  Int index = 0;
  if (const Dict* dict = value.AsDict()) {
    if (const Value* item = dict->Find(key)) return *item;
  } else if (key.AsInteger(&index)) {
    const Sequence* sequence = value.AsSequence();
    if (sequence != nullptr && sequence->has_items()) {
      if (const auto place = PlaceOf(index, sequence->items.size())) return sequence->items[*place];
    } else if (const Text* text = value.AsText()) {
      meter.Charge(text->text.size());
      const std::u32string code_points = ToCodePoints(text->text);
      if (const auto place = PlaceOf(index, code_points.size())) {
        return ToUtf8({&code_points[*place], 1});
      }
    }
  }
  if (const Text* name = key.AsText()) {
    if (std::optional<Value> member = Member(value, name->text)) return *std::move(member);
    return NoAttribute(value, name->text);
  }
  const bool simple = key.IsNumber() || key.IsNone();
  return MakeUndefined(
      Concatenate({"a ", TypeName(value), " has no element ",
                   simple ? Represent(meter, key) : Concatenate({"of type ", TypeName(key)})}));
}

Value GetSlice(Meter& meter, const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (const Text* text = value.AsText()) {
    meter.Charge(text->text.size());
    const std::u32string code_points = ToCodePoints(text->text);
    return ToUtf8(Pick(code_points, Select(start, stop, step, code_points.size())));
  }
  const Sequence* sequence = value.AsSequence();
  if (sequence != nullptr && sequence->has_items()) {
    const Selection selection = Select(start, stop, step, sequence->items.size());
    meter.ChargeItems(sequence->items.size());
    return MakeSequence(sequence->type, Pick(sequence->items, selection));
  }
  RequireDefined(value);
  Fail({"a ", TypeName(value), " cannot be sliced"});
}

}  // namespace longspan::jinja
