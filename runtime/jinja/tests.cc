// The tests of `x is test`.
#include <algorithm>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/operators.h"

namespace longspan::jinja {
namespace {

template <Operator op>
Value Compares(Call& call) {
  return Compare(call.meter, op, call.self, call[0]);
}

// self % divisor == remainder
bool LeavesRemainder(Call& call, const Value& divisor, Int remainder) {
  return Equal(call.meter, Calculate(call.meter, Operator::kModulo, call.self, divisor), remainder);
}

bool IsIterable(const Value& value) {
  return value.IsUndefined() || value.IsString() || value.AsSequence() != nullptr ||
         value.AsDict() != nullptr || value.AsIterator() != nullptr || value.AsLoop() != nullptr;
}

// What has a length and items.
bool IsSequence(const Value& value) {
  const Sequence* sequence = value.AsSequence();
  return value.IsUndefined() || value.IsString() || value.AsDict() != nullptr ||
         (sequence != nullptr && sequence->has_items());
}

bool IsSame(const Value& a, const Value& b) {
  if (a.AsSequence() != nullptr) return a.AsSequence() == b.AsSequence();
  if (a.AsDict() != nullptr) return a.AsDict() == b.AsDict();
  Meter unbounded(int64_t{1} << 62);
  return TypeName(a) == TypeName(b) && Equal(unbounded, a, b);
}

constexpr Builtin kTests[] = {
    {"boolean", "", [](Call& call) -> Value { return call.self.Is<bool>(); }},
    {"defined", "", [](Call& call) -> Value { return !call.self.IsUndefined(); }},
    {"divisibleby", "num", [](Call& call) -> Value { return LeavesRemainder(call, call[0], 0); }},
    {"even", "", [](Call& call) -> Value { return LeavesRemainder(call, 2, 0); }},
    {"false", "", [](Call& call) -> Value { return call.self.Is<bool>() && !Truth(call.self); }},
    {"float", "", [](Call& call) -> Value { return call.self.Is<double>(); }},
    {"integer", "", [](Call& call) -> Value { return call.self.Is<Int>(); }},
    {"iterable", "", [](Call& call) -> Value { return IsIterable(call.self); }},
    {"mapping", "", [](Call& call) -> Value { return call.self.AsDict() != nullptr; }},
    {"none", "", [](Call& call) -> Value { return call.self.IsNone(); }},
    {"number", "", [](Call& call) -> Value { return call.self.IsNumber(); }},
    {"odd", "", [](Call& call) -> Value { return LeavesRemainder(call, 2, 1); }},
    {"sameas", "other", [](Call& call) -> Value { return IsSame(call.self, call[0]); }},
    {"sequence", "", [](Call& call) -> Value { return IsSequence(call.self); }},
    {"string", "", [](Call& call) -> Value { return call.self.IsString(); }},
    {"true", "", [](Call& call) -> Value { return call.self.Is<bool>() && Truth(call.self); }},
    {"undefined", "", [](Call& call) -> Value { return call.self.IsUndefined(); }},
    {"in", "seq", [](Call& call) -> Value { return Contains(call.meter, call[0], call.self); }},
    {"==", "other", Compares<Operator::kEqual>},
    {"eq", "other", Compares<Operator::kEqual>},
    {"equalto", "other", Compares<Operator::kEqual>},
    {"!=", "other", Compares<Operator::kNotEqual>},
    {"ne", "other", Compares<Operator::kNotEqual>},
    {"<", "other", Compares<Operator::kLess>},
    {"lt", "other", Compares<Operator::kLess>},
    {"lessthan", "other", Compares<Operator::kLess>},
    {"<=", "other", Compares<Operator::kLessEqual>},
    {"le", "other", Compares<Operator::kLessEqual>},
    {">", "other", Compares<Operator::kGreater>},
    {"gt", "other", Compares<Operator::kGreater>},
    {"greaterthan", "other", Compares<Operator::kGreater>},
    {">=", "other", Compares<Operator::kGreaterEqual>},
    {"ge", "other", Compares<Operator::kGreaterEqual>},
};

}  // namespace

const Builtin* FindTest(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [&](const Builtin& test) { return test.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace longspan::jinja
