// The functions that templates find ready: filters, tests, globals, and the methods of strings, lists and
// dicts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace longspan::jinja {

class Interpreter;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// One call of a built-in function.
struct Call {
  Interpreter& interpreter;
  Meter& meter;
  std::string_view function;  // its name
  const Value& self;          // what is filtered or tested, or whose method it is
  Arguments arguments;        // as they were given

  // By the function's parameters; nothing where an argument was not given.
  std::vector<std::optional<Value>> bound;

  bool Has(size_t i) const { return bound[i].has_value(); }
  const Value& operator[](size_t i) const { return *bound[i]; }
  // Typed access; fail for other types. For the optional ones, None counts as absent.
  Int Integer(size_t i, Int absent) const;
  Int OptionalInteger(size_t i, Int absent) const {
    return Has(i) && bound[i]->IsNone() ? absent : Integer(i, absent);
  }
  std::string_view String(size_t i) const;
  std::optional<std::string_view> OptionalString(size_t i) const;
  bool Flag(size_t i, bool absent) const { return Has(i) ? Truth(*bound[i]) : absent; }
  // print(argument)
  std::string Printed(size_t i) const;
};

struct Builtin {
  std::string_view name;
  // The parameters' names, in order; those that end in ? may be left out. "*" takes any arguments.
  std::string_view parameters;
  Value (*apply)(Call& call);
};

// A global function, or a method with the value that it belongs to.
struct Function {
  const Builtin* builtin = nullptr;
  Value self;
};

// Null when there is no such function.
const Builtin* FindFilter(std::string_view name);
const Builtin* FindTest(std::string_view name);
const Builtin* FindGlobal(std::string_view name);
const Builtin* FindMethod(const Value& value, std::string_view name);
// Whether Python has this method for the value, and the sandbox forbids it because it changes the value.
bool IsForbiddenMethod(const Value& value, std::string_view name);

// Checks the arguments against the parameters and calls. Fails as Python does when they do not match.
Value Apply(const Builtin& builtin, const Value& self, Arguments arguments, Interpreter& interpreter);

}  // namespace longspan::jinja
