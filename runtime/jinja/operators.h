// Operators of expressions, on values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/jinja/value.h"

namespace longspan::jinja {

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

// kAdd to kModulo. A string's % formats.
Value Calculate(Meter& meter, Operator op, const Value& a, const Value& b);
Value Negate(const Value& value);
// +value
Value Confirm(const Value& value);
// kEqual to kNotIn.
bool Compare(Meter& meter, Operator op, const Value& a, const Value& b);
bool Contains(Meter& meter, const Value& container, const Value& item);

// value.name: a method, else an item of a dict or an attribute. Undefined when there is none.
Value GetAttribute(const Value& value, std::string_view name);
// value[key]: an item, else as GetAttribute.
Value GetItem(Meter& meter, const Value& value, const Value& key);
// value[start:stop:step], absent bounds None.
Value GetSlice(Meter& meter, const Value& value, const Value& start, const Value& stop, const Value& step);

// The error of whoever uses an undefined value; nothing for others.
void RequireDefined(const Value& value);

}  // namespace longspan::jinja
