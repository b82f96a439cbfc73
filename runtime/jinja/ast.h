// A parsed template. Immutable once parsed; may be rendered by several threads at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
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
};

struct Expression {
  enum class Kind : uint8_t {
    kConstant,     // `constant`
    kName,         // `name`
    kAttribute,    // operand.name
    kItem,         // operand[operand]
    kSlice,        // operand[operand:operand:operand], absent ones the constant None
    kCall,         // operand(arguments)
    kFilter,       // operand | name(arguments)
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

struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  Block body;
};

// The variable that holds what the body of a block printed; no template can write this name.
inline constexpr std::string_view kBlockText = "block text";

struct Statement {
  enum class Kind : uint8_t {
    kText,         // `text`
    kPrint,        // `value`
    kIf,           // `branches`, the last perhaps without a condition
    kFor,          // target in value if condition: body, else otherwise
    kSet,          // target = value
    kSetBlock,     // target = `value`, which reads kBlockText
    kFilterBlock,  // `value`, which reads kBlockText
    kMacro,        // `macro`
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
  std::unique_ptr<MacroDefinition> macro;
};

}  // namespace longspan::jinja
