#include "runtime/jinja/interpreter.h"

#include <algorithm>

namespace longspan::jinja {
namespace {

constexpr size_t kStepWork = 32;
constexpr size_t kScopeWork = 256;  // for what takes memory until the end

using Kind = Expression::Kind;

}  // namespace

const Value* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [other, value] : scope->variables) {
      if (other == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(std::string_view name, Value value) {
  for (auto& [other, old] : variables) {
    if (other == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

// Counts recursion while it lives.
class Interpreter::Level {
 public:
  explicit Level(Interpreter* interpreter) : interpreter_(interpreter) {
    if (interpreter->depth_ == kMaxEvaluationDepth) {
      Exhausted({"macros call each other deeper than is allowed"});
    }
    ++interpreter->depth_;
  }
  ~Level() { --interpreter_->depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Interpreter* const interpreter_;
};

Interpreter::Interpreter(const Block& program, Meter& meter, const Bounds& bounds)
    : program_(program), meter_(meter), bounds_(bounds), scope_(std::make_shared<Scope>()) {}

Interpreter::~Interpreter() {
  // Macros and their scopes hold each other; one after the other, so that no destruction recurses.
  for (Macro& macro : macros_) {
    for (Scope* scope = macro.scope.get(); scope != nullptr; scope = scope->parent.get())
      scope->variables.clear();
  }
}

std::string Interpreter::Run(const std::vector<std::pair<std::string, Value>>& variables) {
  for (const auto& [name, value] : variables) scope_->Set(name, value);
  std::string out;
  out_ = &out;
  Execute(program_);
  return out;
}

Value Interpreter::NewNamespace() {
  meter_.Charge(kScopeWork);
  return Value(Value::Data(&namespaces_.emplace_back()));
}

// Charges for what an operation made.
Value Interpreter::Charged(Value value) {
  if (const Text* text = value.AsText()) {
    meter_.Charge(text->text.size());
  } else if (const Sequence* sequence = value.AsSequence()) {
    meter_.ChargeItems(sequence->items.size());
  }
  return value;
}

Value Interpreter::CallFilter(std::string_view name, const Value& subject, Arguments arguments) {
  const Builtin* filter = FindFilter(name);
  if (filter == nullptr) Fail({"there is no filter named '", name, "'"});
  if (const Text* text = subject.AsText()) meter_.Charge(text->text.size());
  return Charged(Apply(*filter, subject, std::move(arguments), *this));
}

bool Interpreter::CallTest(std::string_view name, const Value& subject, Arguments arguments) {
  const Builtin* test = FindTest(name);
  if (test == nullptr) Fail({"there is no test named '", name, "'"});
  return Truth(Apply(*test, subject, std::move(arguments), *this));
}

Value Interpreter::CallValue(const Value& callee, Arguments arguments) {
  if (const Macro* macro = callee.AsMacro()) return CallMacro(*macro, std::move(arguments));
  const Function* function = callee.AsFunction();
  if (function == nullptr) {
    RequireDefined(callee);
    Fail({"a ", TypeName(callee), " cannot be called"});
  }
  if (const Text* text = function->self.AsText()) meter_.Charge(text->text.size());
  return Charged(Apply(*function->builtin, function->self, std::move(arguments), *this));
}

void Interpreter::BindParameters(const MacroDefinition& definition, Arguments arguments) {
  const size_t count = definition.parameters.size();
  const size_t given = std::min(arguments.positional.size(), count);
  const auto take_keyword = [&](std::string_view name, Value* value) {
    const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [&](const auto& keyword) { return keyword.first == name; });
    if (found == arguments.keywords.end()) return false;
    *value = std::move(found->second);
    arguments.keywords.erase(found);
    return true;
  };
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = definition.parameters[i];
    Value value;
    if (i < given) {
      value = std::move(arguments.positional[i]);
    } else if (!take_keyword(name, &value)) {
      const size_t first_default = count - definition.defaults.size();
      value = i >= first_default ? Evaluate(*definition.defaults[i - first_default])
                                 : MakeUndefined(Concatenate({"parameter '", name, "' was not provided"}));
    }
    scope_->Set(name, std::move(value));
  }
  if (!arguments.keywords.empty()) {
    Fail({"macro '", definition.name, "' has no parameter '", arguments.keywords[0].first, "'"});
  }
  if (arguments.positional.size() > count) {
    Fail({"macro '", definition.name, "' takes at most ", std::to_string(count), " arguments"});
  }
}

Value Interpreter::CallMacro(const Macro& macro, Arguments arguments) {
  const std::shared_ptr<Scope> outside = scope_;
  scope_ = std::make_shared<Scope>();
  scope_->parent = macro.scope;
  BindParameters(*macro.definition, std::move(arguments));
  std::string text;
  std::string* const out = std::exchange(out_, &text);
  Execute(macro.definition->body);
  out_ = out;
  scope_ = outside;
  return text;
}

Value Interpreter::EvaluateName(const Expression& name) {
  if (const Value* value = scope_->Find(name.name)) return *value;
  if (const Builtin* global = FindGlobal(name.name)) {
    return Value(Value::Data(std::make_shared<const Function>(Function{global, Value()})));
  }
  return MakeUndefined(Concatenate({"'", name.name, "' is undefined"}));
}

Value Interpreter::EvaluateCompare(const Expression& comparison) {
  Value left = EvaluateOperand(comparison, 0);
  for (size_t i = 0; i < comparison.operators.size(); ++i) {
    Value right = EvaluateOperand(comparison, i + 1);
    if (!Compare(meter_, comparison.operators[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::EvaluateConcatenation(const Expression& concatenation) {
  std::string text;
  for (const ExpressionPtr& operand : concatenation.operands) text += Print(meter_, Evaluate(*operand));
  return text;
}

Value Interpreter::EvaluateDict(const Expression& dict) {
  DictBuilder builder(&meter_);
  for (size_t i = 0; i < dict.operands.size(); i += 2) {
    Value key = EvaluateOperand(dict, i);
    builder.Set(std::move(key), EvaluateOperand(dict, i + 1));
  }
  return builder.Build();
}

std::vector<Value> Interpreter::EvaluateAll(const std::vector<ExpressionPtr>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPtr& expression : expressions) values.push_back(Evaluate(*expression));
  return values;
}

Arguments Interpreter::EvaluateArguments(const ArgumentList& list) {
  Arguments arguments;
  arguments.positional = EvaluateAll(list.positional);
  for (const auto& [name, expression] : list.keywords)
    arguments.keywords.emplace_back(name, Evaluate(*expression));
  return arguments;
}

Value Interpreter::Evaluate(const Expression& expression) {
  const Level level(this);
  meter_.Charge(kStepWork);
  line_ = expression.line;
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.constant;
    case Kind::kName:
      return EvaluateName(expression);
    case Kind::kAttribute:
      return GetAttribute(EvaluateOperand(expression, 0), expression.name);
    case Kind::kItem: {
      const Value value = EvaluateOperand(expression, 0);
      return GetItem(meter_, value, EvaluateOperand(expression, 1));
    }
    case Kind::kSlice: {
      const std::vector<Value> values = EvaluateAll(expression.operands);
      return GetSlice(meter_, values[0], values[1], values[2], values[3]);
    }
    case Kind::kCall: {
      const Value callee = EvaluateOperand(expression, 0);
      Arguments arguments = EvaluateArguments(expression.arguments);
      line_ = expression.line;
      return CallValue(callee, std::move(arguments));
    }
    case Kind::kFilter: {
      const Value subject = EvaluateOperand(expression, 0);
      Arguments arguments = EvaluateArguments(expression.arguments);
      line_ = expression.line;
      return CallFilter(expression.name, subject, std::move(arguments));
    }
    case Kind::kTest: {
      const Value subject = EvaluateOperand(expression, 0);
      return CallTest(expression.name, subject, EvaluateArguments(expression.arguments));
    }
    case Kind::kNot:
      return !Truth(EvaluateOperand(expression, 0));
    case Kind::kNegative:
      return Negate(EvaluateOperand(expression, 0));
    case Kind::kPositive:
      return Confirm(EvaluateOperand(expression, 0));
    case Kind::kBinary: {
      const Value left = EvaluateOperand(expression, 0);
      const Value right = EvaluateOperand(expression, 1);
      line_ = expression.line;
      return Calculate(meter_, expression.operators[0], left, right);
    }
    case Kind::kCompare:
      return EvaluateCompare(expression);
    case Kind::kAnd: {
      Value left = EvaluateOperand(expression, 0);
      return Truth(left) ? EvaluateOperand(expression, 1) : std::move(left);
    }
    case Kind::kOr: {
      Value left = EvaluateOperand(expression, 0);
      return Truth(left) ? std::move(left) : EvaluateOperand(expression, 1);
    }
    case Kind::kConditional:
      if (Truth(EvaluateOperand(expression, 0))) return EvaluateOperand(expression, 1);
      if (expression.operands.size() > 2) return EvaluateOperand(expression, 2);
      return MakeUndefined("the inline if-expression evaluated to false and no else section was defined");
    case Kind::kConcatenate:
      return EvaluateConcatenation(expression);
    case Kind::kList:
      return MakeList(EvaluateAll(expression.operands));
    case Kind::kTuple:
      return MakeTuple(EvaluateAll(expression.operands));
    case Kind::kDict:
      return EvaluateDict(expression);
  }
  return {};
}

void Interpreter::Write(std::string_view text) {
  if (text.size() > bounds_.output_bytes - std::min(bounds_.output_bytes, out_->size())) {
    Exhausted(
        {"the output is longer than the ", std::to_string(bounds_.output_bytes), " bytes that are allowed"});
  }
  meter_.Charge(text.size());
  *out_ += text;
}

std::string Interpreter::Capture(const Block& block, Flow* flow) {
  std::string text;
  std::string* const out = std::exchange(out_, &text);
  *flow = ExecuteInScope(block);
  out_ = out;
  return text;
}

Interpreter::Flow Interpreter::ExecuteInScope(const Block& block) {
  const std::shared_ptr<Scope> outside = scope_;
  scope_ = std::make_shared<Scope>();
  scope_->parent = outside;
  const Flow flow = Execute(block);
  scope_ = outside;
  return flow;
}

Interpreter::Flow Interpreter::Execute(const Block& block) {
  for (const auto& statement : block) {
    if (const Flow flow = Execute(*statement); flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const Statement& statement) {
  const Level level(this);
  meter_.Charge(kStepWork);
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::kText:
      Write(statement.text);
      break;
    case Statement::Kind::kPrint:
      Write(Print(meter_, Evaluate(*statement.value)));
      break;
    case Statement::Kind::kIf:
      return ExecuteIf(statement);
    case Statement::Kind::kFor:
      return ExecuteFor(statement);
    case Statement::Kind::kSet:
      Assign(*statement.target, Evaluate(*statement.value));
      break;
    case Statement::Kind::kSetBlock:
    case Statement::Kind::kFilterBlock: {
      Flow flow;
      std::string text = Capture(statement.body, &flow);
      if (flow != Flow::kNext) return flow;
      scope_->Set(kBlockText, std::move(text));
      Value value = Evaluate(*statement.value);
      if (statement.kind == Statement::Kind::kFilterBlock) {
        Write(Print(meter_, value));
      } else {
        Assign(*statement.target, std::move(value));
      }
      break;
    }
    case Statement::Kind::kMacro:
      scope_->Set(statement.macro->name, DefineMacro(*statement.macro));
      break;
    case Statement::Kind::kScope:
      return ExecuteInScope(statement.body);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteIf(const Statement& statement) {
  for (const Statement::Branch& branch : statement.branches) {
    if (branch.condition == nullptr || Truth(Evaluate(*branch.condition))) return Execute(branch.body);
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteFor(const Statement& statement) {
  std::vector<Value> items = Items(meter_, Evaluate(*statement.value));
  const std::shared_ptr<Scope> outside = scope_;
  const auto enter = [&] {
    scope_ = std::make_shared<Scope>();
    scope_->parent = outside;
  };
  if (statement.condition != nullptr) {
    std::vector<Value> chosen;
    for (Value& item : items) {
      enter();
      Assign(*statement.target, item);
      if (Truth(Evaluate(*statement.condition))) chosen.push_back(std::move(item));
    }
    items = std::move(chosen);
  }
  const Value loop = MakeLoop(std::move(items));
  Loop& state = *loop.AsLoop();
  bool completed = false;  // an iteration came to its end: then there is no else
  for (; state.index0 < state.items.size(); ++state.index0) {
    enter();
    scope_->Set("loop", loop);
    Assign(*statement.target, state.items[state.index0]);
    const Flow flow = Execute(statement.body);
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kNext;
  }
  scope_ = outside;
  return completed ? Flow::kNext : ExecuteInScope(statement.otherwise);
}

Value Interpreter::DefineMacro(const MacroDefinition& definition) {
  meter_.Charge(kScopeWork);
  return Value(Value::Data(static_cast<const Macro*>(&macros_.emplace_back(Macro{&definition, scope_}))));
}

void Interpreter::Assign(const Expression& target, Value value) {
  if (target.kind == Kind::kName) {
    scope_->Set(target.name, std::move(value));
    return;
  }
  if (target.kind == Kind::kAttribute) {
    const Value object = EvaluateOperand(target, 0);
    Namespace* names = object.AsNamespace();
    if (names == nullptr) Fail({"an attribute can be set on a namespace only, not on a ", TypeName(object)});
    names->Set(target.name, std::move(value));
    return;
  }
  RequireDefined(value);
  const std::vector<Value> items = Items(meter_, value);
  if (items.size() != target.operands.size()) {
    Fail({std::to_string(items.size()), " values cannot be assigned to ",
          std::to_string(target.operands.size()), " names"});
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.operands[i], items[i]);
}

}  // namespace longspan::jinja
