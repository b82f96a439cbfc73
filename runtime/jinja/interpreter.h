// Renders a parsed template.
//
// One interpreter renders once, on one thread. It owns everything that the rendering makes and that values
// only point to: namespaces, macros, and the scopes that macros see.
#pragma once

#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/builtins.h"
#include "runtime/jinja/value.h"

namespace longspan::jinja {

// Variables of a block, and those around it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* Find(std::string_view name) const;
  void Set(std::string_view name, Value value);
};

// A macro where it was defined.
struct Macro {
  const MacroDefinition* definition = nullptr;
  std::shared_ptr<Scope> scope;
};

class Interpreter {
 public:
  struct Bounds {
    size_t output_bytes;
    std::tm now;  // what strftime_now formats
  };

  // `program` outlives the interpreter, and `meter` too.
  Interpreter(const Block& program, Meter& meter, const Bounds& bounds);
  ~Interpreter();

  // Throws Error; line() then says where.
  std::string Run(const std::vector<std::pair<std::string, Value>>& variables);
  int line() const { return line_; }

  // For built-in functions.
  Meter& meter() { return meter_; }
  const std::tm& now() const { return bounds_.now; }
  Value CallFilter(std::string_view name, const Value& subject, Arguments arguments);
  bool CallTest(std::string_view name, const Value& subject, Arguments arguments);
  Value NewNamespace();

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Level;

  Value Evaluate(const Expression& expression);
  Value EvaluateOperand(const Expression& expression, size_t i) { return Evaluate(*expression.operands[i]); }
  Value EvaluateName(const Expression& name);
  Value EvaluateCompare(const Expression& comparison);
  Value EvaluateConcatenation(const Expression& concatenation);
  Value EvaluateDict(const Expression& dict);
  std::vector<Value> EvaluateAll(const std::vector<ExpressionPtr>& expressions);
  Arguments EvaluateArguments(const ArgumentList& list);

  Value CallValue(const Value& callee, Arguments arguments);
  Value CallMacro(const Macro& macro, Arguments arguments);
  void BindParameters(const MacroDefinition& definition, Arguments arguments);
  Value Charged(Value value);

  Flow Execute(const Block& block);
  Flow Execute(const Statement& statement);
  Flow ExecuteIf(const Statement& statement);
  Flow ExecuteFor(const Statement& statement);
  Flow ExecuteInScope(const Block& block);
  void Assign(const Expression& target, Value value);
  Value DefineMacro(const MacroDefinition& definition);
  void Write(std::string_view text);
  // What the block prints, in a scope of its own.
  std::string Capture(const Block& block, Flow* flow);

  const Block& program_;
  Meter& meter_;
  const Bounds bounds_;
  std::shared_ptr<Scope> scope_;
  std::string* out_ = nullptr;
  int line_ = 0;
  int depth_ = 0;
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
};

}  // namespace longspan::jinja
