// A parsed template. Immutable once parsed; may be rendered by several threads at a time.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/jinja/operators.h"
#include "runtime/jinja/value.h"

namespace longspan::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct ArgumentList {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr more_positional;  // *expression, or null
  ExpressionPtr more_keywords;    // **expression, or null
};

struct Expression {
  enum class Kind : uint8_t {
    kConstant,     // `constant`
    kName,         // `name`
    kAttribute,    // operand.name
    kItem,         // operand[operand]
    kSlice,        // operand[operand:operand:operand], absent ones the constant None
    kCall,         // operand(arguments)
    kFilter,       // operand | name(arguments); without an operand in the head of a block
    kTest,         // operand is name(arguments)
    kNot,          // of one operand
    kNegative,     // of one operand
    kPositive,     // of one operand
    kBinary,       // operand operator operand
    kCompare,      // operand operator operand operator operand ...
    kAnd,          // of two operands
    kOr,           // of two operands
    kConditional,  // operand[1] if operand[0] else operand[2], which may be absent
    kConcatenate,  // operand ~ operand ~ ...
    kList,         // of operands
    kTuple,        // of operands
    kDict,         // key, value, key, value, ...
  };

  Kind kind = Kind::kConstant;
  int line = 0;
  int depth = 1;  // of nested expressions
  std::string name;
  Value constant;
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  ArgumentList arguments;
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

// A macro, or the body of a call block.
struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_varargs = false;            // these names are read in the body
  bool uses_kwargs = false;
  bool uses_caller = false;
  Block body;
};

struct Statement {
  enum class Kind : uint8_t {
    kText,         // `text`
    kPrint,        // `value`
    kIf,           // `branches`, the last perhaps without a condition
    kFor,          // target in value if condition: body, else otherwise
    kSet,          // target = value
    kSetBlock,     // target = body, through the filters of `value` if any
    kMacro,        // `macro`
    kCallBlock,    // `value` is the call, `macro` its caller
    kFilterBlock,  // body through the filters of `value`
    kWith,         // assignments, then body
    kScope,        // body with variables of its own
    kBreak,
    kContinue,
  };
  struct Branch {
    ExpressionPtr condition;  // null: else
    Block body;
  };

  Kind kind = Kind::kText;
  int line = 0;
  std::string text;
  ExpressionPtr target;  // a name, a tuple of them, or of kSet namespace.attribute
  ExpressionPtr value;
  ExpressionPtr condition;
  Block body;
  Block otherwise;
  std::vector<Branch> branches;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;
  std::unique_ptr<MacroDefinition> macro;
};

}  // namespace longspan::jinja
