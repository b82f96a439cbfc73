#include "runtime/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "runtime/jinja/lexer.h"

namespace longspan::jinja {
namespace {

using Kind = Expression::Kind;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Block Parse() {
    Block block = ParseBlock({});
    if (Current().type != TokenType::kEnd) Bad({"unexpected end of a block"});
    return block;
  }

 private:
  // Counts recursion while it lives.
  class Level {
   public:
    explicit Level(Parser* parser) : parser_(parser) {
      if (++parser_->level_ > kMaxNesting) parser_->TooDeep();
    }
    ~Level() { --parser_->level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser* const parser_;
  };

  // Tokens
  const Token& Current() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token Take() {
    const Token& token = Current();
    if (token.type != TokenType::kEnd) ++at_;
    return token;
  }
  bool Is(TokenType type, std::string_view text) const {
    return Current().type == type && Current().text == text;
  }
  bool IsName(std::string_view name) const { return Is(TokenType::kName, name); }
  bool IsSign(std::string_view sign) const { return Is(TokenType::kOperator, sign); }
  bool SkipName(std::string_view name) { return IsName(name) && (++at_, true); }
  bool SkipSign(std::string_view sign) { return IsSign(sign) && (++at_, true); }
  std::string ExpectName() {
    if (Current().type != TokenType::kName) Bad({"expected a name, found ", Describe(Current())});
    return Take().text;
  }
  void ExpectSign(std::string_view sign) {
    if (!SkipSign(sign)) Bad({"expected '", sign, "', found ", Describe(Current())});
  }
  void Expect(TokenType type, std::string_view what) {
    if (Current().type != type) Bad({"expected ", what, ", found ", Describe(Current())});
    ++at_;
  }

  static std::string Describe(const Token& token) {
    switch (token.type) {
      case TokenType::kData:
        return "text";
      case TokenType::kVariableBegin:
        return "{{";
      case TokenType::kVariableEnd:
        return "}}";
      case TokenType::kBlockBegin:
        return "{%";
      case TokenType::kBlockEnd:
        return "%}";
      case TokenType::kEnd:
        return "the end of the template";
      case TokenType::kString:
        return "a string";
      default:
        return "'" + token.text + "'";
    }
  }

  // Errors
  [[noreturn]] void Bad(std::initializer_list<std::string_view> parts) const {
    throw Error{absl::StatusCode::kInvalidArgument, Concatenate(parts), Current().line};
  }
  [[noreturn]] void TooDeep() const {
    throw Error{absl::StatusCode::kResourceExhausted,
                "nested deeper than " + std::to_string(kMaxNesting) + " levels", Current().line};
  }

  // Nodes
  ExpressionPtr Make(Kind kind, int line) const {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = line;
    return expression;
  }
  void Add(Expression& parent, ExpressionPtr child) const {
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kMaxNesting) TooDeep();
    parent.operands.push_back(std::move(child));
  }
  template <typename... Children>
  ExpressionPtr Make(Kind kind, int line, ExpressionPtr first, Children... children) const {
    ExpressionPtr expression = Make(kind, line);
    Add(*expression, std::move(first));
    (Add(*expression, std::move(children)), ...);
    return expression;
  }
  ExpressionPtr Constant(Value value, int line) const {
    ExpressionPtr expression = Make(Kind::kConstant, line);
    expression->constant = std::move(value);
    return expression;
  }

  ExpressionPtr MakeBlockText(int line) const {
    ExpressionPtr expression = Make(Kind::kName, line);
    expression->name = kBlockText;
    return expression;
  }

  // Expressions, from the loosest binding to the tightest
  ExpressionPtr ParseExpression(bool with_condition = true);
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseComparison();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcatenation();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParseFiltered() { return ParseFilters(ParseUnary()); }
  ExpressionPtr ParseUnary();
  ExpressionPtr ParsePostfix(ExpressionPtr expression);
  ExpressionPtr ParseFilters(ExpressionPtr expression);
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseSubscript(ExpressionPtr expression);
  ExpressionPtr ParseFilter(ExpressionPtr expression);
  ExpressionPtr ParseTest(ExpressionPtr expression);
  ExpressionPtr ParseCall(ExpressionPtr expression);
  ArgumentList ParseArguments(int* depth);
  ExpressionPtr ParseTuple(bool with_condition, bool in_parentheses = false);
  ExpressionPtr ParseItems(std::string_view end, bool pairs);
  ExpressionPtr ParseName();
  std::optional<Operator> TakeComparison();
  template <typename Operand>
  ExpressionPtr ParseBinary(std::initializer_list<std::pair<std::string_view, Operator>> signs,
                            Operand operand);

  // Statements
  Block ParseBlock(std::initializer_list<std::string_view> ends);
  Block ParseBody(std::initializer_list<std::string_view> ends);
  std::unique_ptr<Statement> ParseStatement();
  std::unique_ptr<Statement> ParseFor(int line);
  std::unique_ptr<Statement> ParseIf(int line);
  std::unique_ptr<Statement> ParseSet(int line);
  std::unique_ptr<Statement> ParseMacro(int line);
  void ParseSignature(MacroDefinition* macro);
  ExpressionPtr ParseTarget(bool with_namespace);
  ExpressionPtr ParseTargetName(bool with_namespace);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
  int loops_ = 0;  // that are open in the macro at hand
  bool in_macro_ = false;
};

ExpressionPtr Parser::ParseExpression(bool with_condition) {
  const Level level(this);
  ExpressionPtr expression = ParseOr();
  while (with_condition && IsName("if")) {
    const int line = Take().line;
    ExpressionPtr condition = ParseOr();
    if (SkipName("else")) {
      expression =
          Make(Kind::kConditional, line, std::move(condition), std::move(expression), ParseExpression(true));
    } else {
      expression = Make(Kind::kConditional, line, std::move(condition), std::move(expression));
    }
  }
  return expression;
}

ExpressionPtr Parser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (IsName("or")) {
    const int line = Take().line;
    left = Make(Kind::kOr, line, std::move(left), ParseAnd());
  }
  return left;
}

ExpressionPtr Parser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (IsName("and")) {
    const int line = Take().line;
    left = Make(Kind::kAnd, line, std::move(left), ParseNot());
  }
  return left;
}

ExpressionPtr Parser::ParseNot() {
  if (!IsName("not")) return ParseComparison();
  const Level level(this);
  const int line = Take().line;
  return Make(Kind::kNot, line, ParseNot());
}

std::optional<Operator> Parser::TakeComparison() {
  constexpr std::pair<std::string_view, Operator> kSigns[] = {
      {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
      {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};
  for (const auto& [sign, op] : kSigns) {
    if (SkipSign(sign)) return op;
  }
  if (SkipName("in")) return Operator::kIn;
  if (IsName("not") && Next().type == TokenType::kName && Next().text == "in") {
    at_ += 2;
    return Operator::kNotIn;
  }
  return std::nullopt;
}

ExpressionPtr Parser::ParseComparison() {
  const int line = Current().line;
  ExpressionPtr first = ParseSum();
  std::optional<Operator> op = TakeComparison();
  if (!op) return first;
  ExpressionPtr comparison = Make(Kind::kCompare, line, std::move(first));
  for (; op; op = TakeComparison()) {
    comparison->operators.push_back(*op);
    Add(*comparison, ParseSum());
  }
  return comparison;
}

template <typename Operand>
ExpressionPtr Parser::ParseBinary(std::initializer_list<std::pair<std::string_view, Operator>> signs,
                                  Operand operand) {
  ExpressionPtr left = (this->*operand)();
  while (true) {
    const auto found =
        std::find_if(signs.begin(), signs.end(), [this](const auto& sign) { return IsSign(sign.first); });
    if (found == signs.end()) return left;
    const int line = Take().line;
    left = Make(Kind::kBinary, line, std::move(left), (this->*operand)());
    left->operators = {found->second};
  }
}

ExpressionPtr Parser::ParseSum() {
  return ParseBinary({{"+", Operator::kAdd}, {"-", Operator::kSubtract}}, &Parser::ParseConcatenation);
}

ExpressionPtr Parser::ParseConcatenation() {
  const int line = Current().line;
  ExpressionPtr first = ParseProduct();
  if (!IsSign("~")) return first;
  ExpressionPtr concatenation = Make(Kind::kConcatenate, line, std::move(first));
  while (SkipSign("~")) Add(*concatenation, ParseProduct());
  return concatenation;
}

ExpressionPtr Parser::ParseProduct() {
  return ParseBinary({{"*", Operator::kMultiply},
                      {"/", Operator::kDivide},
                      {"//", Operator::kFloorDivide},
                      {"%", Operator::kModulo}},
                     &Parser::ParseFiltered);
}

ExpressionPtr Parser::ParseUnary() {
  const Level level(this);
  const int line = Current().line;
  ExpressionPtr expression;
  if (SkipSign("-")) {
    expression = Make(Kind::kNegative, line, ParseUnary());
  } else if (SkipSign("+")) {
    expression = Make(Kind::kPositive, line, ParseUnary());
  } else {
    expression = ParsePrimary();
  }
  return ParsePostfix(std::move(expression));
}

ExpressionPtr Parser::ParsePostfix(ExpressionPtr expression) {
  while (true) {
    if (IsSign(".") || IsSign("[")) {
      expression = ParseSubscript(std::move(expression));
    } else if (IsSign("(")) {
      expression = ParseCall(std::move(expression));
    } else {
      return expression;
    }
  }
}

ExpressionPtr Parser::ParseFilters(ExpressionPtr expression) {
  while (true) {
    if (SkipSign("|")) {
      expression = ParseFilter(std::move(expression));
    } else if (SkipName("is")) {
      expression = ParseTest(std::move(expression));
    } else if (IsSign("(")) {
      expression = ParseCall(std::move(expression));
    } else {
      return expression;
    }
  }
}

ExpressionPtr Parser::ParseName() {
  const Token token = Take();
  if (token.text == "true" || token.text == "True") return Constant(true, token.line);
  if (token.text == "false" || token.text == "False") return Constant(false, token.line);
  if (token.text == "none" || token.text == "None") return Constant(Value(), token.line);
  if (in_macro_ && (token.text == "varargs" || token.text == "kwargs" || token.text == "caller")) {
    Unsupported({"'", token.text, "' of macros is not supported: name the parameters"}, token.line);
  }
  ExpressionPtr expression = Make(Kind::kName, token.line);
  expression->name = token.text;
  return expression;
}

ExpressionPtr Parser::ParsePrimary() {
  const Token& token = Current();
  const int line = token.line;
  switch (token.type) {
    case TokenType::kName:
      return ParseName();
    case TokenType::kNumber:
      return Constant(Take().number, line);
    case TokenType::kString: {
      std::string text;
      while (Current().type == TokenType::kString) text += Take().text;
      return Constant(std::move(text), line);
    }
    default:
      break;
  }
  if (SkipSign("(")) {
    ExpressionPtr expression = ParseTuple(/*with_condition=*/true, /*in_parentheses=*/true);
    ExpectSign(")");
    return expression;
  }
  if (SkipSign("[")) return ParseItems("]", /*pairs=*/false);
  if (SkipSign("{")) return ParseItems("}", /*pairs=*/true);
  Bad({"expected an expression, found ", Describe(token)});
}

// The items of a list or a dict, and its end.
ExpressionPtr Parser::ParseItems(std::string_view end, bool pairs) {
  ExpressionPtr expression = Make(pairs ? Kind::kDict : Kind::kList, Current().line);
  while (!IsSign(end)) {
    if (!expression->operands.empty()) ExpectSign(",");
    if (IsSign(end)) break;
    Add(*expression, ParseExpression());
    if (pairs) {
      ExpectSign(":");
      Add(*expression, ParseExpression());
    }
  }
  ExpectSign(end);
  return expression;
}

// One expression, or several with commas. A comma may end them.
ExpressionPtr Parser::ParseTuple(bool with_condition, bool in_parentheses) {
  const int line = Current().line;
  const auto at_end = [this] {
    const TokenType type = Current().type;
    return type == TokenType::kVariableEnd || type == TokenType::kBlockEnd || IsSign(")");
  };
  if (in_parentheses && IsSign(")")) return Make(Kind::kTuple, line);
  ExpressionPtr first = ParseExpression(with_condition);
  if (!IsSign(",")) return first;
  ExpressionPtr tuple = Make(Kind::kTuple, line, std::move(first));
  while (SkipSign(",") && !at_end()) Add(*tuple, ParseExpression(with_condition));
  return tuple;
}

ExpressionPtr Parser::ParseSubscript(ExpressionPtr expression) {
  const int line = Current().line;
  if (SkipSign(".")) {
    if (Current().type == TokenType::kNumber && Current().number.Is<Int>()) {
      return Make(Kind::kItem, line, std::move(expression), Constant(Take().number, line));
    }
    ExpressionPtr attribute = Make(Kind::kAttribute, line, std::move(expression));
    attribute->name = ExpectName();
    return attribute;
  }
  ExpectSign("[");
  const auto bound = [&] { return IsSign(":") || IsSign("]") ? Constant(Value(), line) : ParseExpression(); };
  if (IsSign("]")) Bad({"expected an index, found ']'"});
  ExpressionPtr start = bound();
  if (!SkipSign(":")) {
    if (IsSign(",")) Bad({"an index is one expression or a slice, not several"});
    ExpectSign("]");
    return Make(Kind::kItem, line, std::move(expression), std::move(start));
  }
  ExpressionPtr stop = bound();
  ExpressionPtr step = SkipSign(":") ? bound() : Constant(Value(), line);
  ExpectSign("]");
  return Make(Kind::kSlice, line, std::move(expression), std::move(start), std::move(stop), std::move(step));
}

ExpressionPtr Parser::ParseCall(ExpressionPtr expression) {
  ExpressionPtr call = Make(Kind::kCall, Current().line, std::move(expression));
  call->arguments = ParseArguments(&call->depth);
  return call;
}

// `depth` becomes that of an expression around the arguments.
ArgumentList Parser::ParseArguments(int* depth) {
  ArgumentList arguments;
  const auto parse = [&] {
    ExpressionPtr expression = ParseExpression();
    *depth = std::max(*depth, expression->depth + 1);
    if (*depth > kMaxNesting) TooDeep();
    return expression;
  };
  ExpectSign("(");
  for (bool first = true; !IsSign(")"); first = false) {
    if (!first) {
      ExpectSign(",");
      if (IsSign(")")) break;
    }
    const bool keyword =
        Current().type == TokenType::kName && Next().type == TokenType::kOperator && Next().text == "=";
    if (IsSign("*") || IsSign("**")) {
      Unsupported({"arguments with ", Current().text, " are not supported"}, Current().line);
    } else if (keyword) {
      std::string name = ExpectName();
      ExpectSign("=");
      arguments.keywords.emplace_back(std::move(name), parse());
    } else if (!arguments.keywords.empty()) {
      Bad({"an argument by position after one by name is not allowed"});
    } else {
      arguments.positional.push_back(parse());
    }
  }
  ExpectSign(")");
  return arguments;
}

// After the |.
ExpressionPtr Parser::ParseFilter(ExpressionPtr expression) {
  ExpressionPtr filter = Make(Kind::kFilter, Current().line, std::move(expression));
  filter->name = ExpectName();
  if (IsSign("(")) filter->arguments = ParseArguments(&filter->depth);
  return filter;
}

// After the `is`.
ExpressionPtr Parser::ParseTest(ExpressionPtr expression) {
  const int line = Current().line;
  const bool negated = SkipName("not");
  ExpressionPtr test = Make(Kind::kTest, line, std::move(expression));
  test->name = ExpectName();
  const Token& token = Current();
  const bool has_argument =
      token.type == TokenType::kString || token.type == TokenType::kNumber || IsSign("[") || IsSign("{") ||
      (token.type == TokenType::kName && !IsName("else") && !IsName("or") && !IsName("and"));
  if (IsSign("(")) {
    test->arguments = ParseArguments(&test->depth);
  } else if (has_argument) {
    if (IsName("is")) Bad({"tests cannot be chained with is"});
    const Level level(this);
    ExpressionPtr argument = ParsePostfix(ParsePrimary());
    test->depth = std::max(test->depth, argument->depth + 1);
    test->arguments.positional.push_back(std::move(argument));
  }
  return negated ? Make(Kind::kNot, line, std::move(test)) : std::move(test);
}

// Statements up to one of the end tags, whose name is then the current token; or to the end of the template.
Block Parser::ParseBlock(std::initializer_list<std::string_view> ends) {
  const Level level(this);
  Block block;
  const auto add = [&](Statement::Kind kind) -> Statement& {
    block.push_back(std::make_unique<Statement>());
    block.back()->kind = kind;
    block.back()->line = Current().line;
    return *block.back();
  };
  while (true) {
    switch (Current().type) {
      case TokenType::kData:
        add(Statement::Kind::kText).text = Take().text;
        break;
      case TokenType::kVariableBegin: {
        Statement& print = add(Statement::Kind::kPrint);
        ++at_;
        print.value = ParseTuple(/*with_condition=*/true);
        Expect(TokenType::kVariableEnd, "}}");
        break;
      }
      case TokenType::kBlockBegin:
        ++at_;
        if (std::any_of(ends.begin(), ends.end(), [this](std::string_view end) { return IsName(end); })) {
          return block;
        }
        block.push_back(ParseStatement());
        Expect(TokenType::kBlockEnd, "%}");
        break;
      default:
        if (ends.size() > 0) Bad({"a block is not closed with ", std::data(ends)[ends.size() - 1]});
        return block;
    }
  }
}

// The rest of a tag, and the statements up to the end tag, whose name is then the current token.
Block Parser::ParseBody(std::initializer_list<std::string_view> ends) {
  SkipSign(":");
  Expect(TokenType::kBlockEnd, "%}");
  return ParseBlock(ends);
}

std::unique_ptr<Statement> Parser::ParseStatement() {
  const int line = Current().line;
  const std::string tag = ExpectName();
  if (tag == "for") return ParseFor(line);
  if (tag == "if") return ParseIf(line);
  if (tag == "set") return ParseSet(line);
  if (tag == "macro") return ParseMacro(line);
  auto statement = std::make_unique<Statement>();
  statement->line = line;
  if (tag == "break" || tag == "continue") {
    if (loops_ == 0) Bad({tag, " stands outside a loop"});
    statement->kind = tag == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
  } else if (tag == "filter") {
    statement->kind = Statement::Kind::kFilterBlock;
    statement->value = ParseFilter(MakeBlockText(line));
    while (SkipSign("|")) statement->value = ParseFilter(std::move(statement->value));
    statement->body = ParseBody({"endfilter"});
    ++at_;
  } else if (tag == "generation") {
    // Marks what the model says, for training; it is a call block of its own.
    statement->kind = Statement::Kind::kScope;
    const int loops = std::exchange(loops_, 0);
    statement->body = ParseBody({"endgeneration"});
    loops_ = loops;
    ++at_;
  } else {
    for (const std::string_view known : {"raw", "call", "with", "block", "extends", "include", "import",
                                         "from", "autoescape", "print", "do", "trans"}) {
      if (tag == known) Unsupported({"the tag '", tag, "' is not supported in chat templates"}, line);
    }
    Bad({"unexpected tag '", tag, "'"});
  }
  return statement;
}

std::unique_ptr<Statement> Parser::ParseFor(int line) {
  auto loop = std::make_unique<Statement>();
  loop->kind = Statement::Kind::kFor;
  loop->line = line;
  loop->target = ParseTarget(/*with_namespace=*/false);
  if (!SkipName("in")) Bad({"expected 'in', found ", Describe(Current())});
  loop->value = ParseTuple(/*with_condition=*/false);
  if (SkipName("if")) loop->condition = ParseExpression();
  if (IsName("recursive")) Unsupported({"recursive loops are not supported; use a macro"}, line);
  ++loops_;
  loop->body = ParseBody({"else", "endfor"});
  --loops_;
  if (SkipName("else")) loop->otherwise = ParseBody({"endfor"});
  ++at_;
  return loop;
}

std::unique_ptr<Statement> Parser::ParseIf(int line) {
  auto statement = std::make_unique<Statement>();
  statement->kind = Statement::Kind::kIf;
  statement->line = line;
  std::string end;
  do {
    Statement::Branch& branch = statement->branches.emplace_back();
    if (end != "else") branch.condition = ParseTuple(/*with_condition=*/false);
    branch.body = end == "else" ? ParseBody({"endif"}) : ParseBody({"elif", "else", "endif"});
    end = Take().text;
  } while (end != "endif");
  return statement;
}

// A name, or namespace.attribute.
ExpressionPtr Parser::ParseTargetName(bool with_namespace) {
  if (Current().type != TokenType::kName) Bad({"expected a name to assign to, found ", Describe(Current())});
  const int line = Current().line;
  ExpressionPtr target = ParseName();
  if (target->kind != Kind::kName) Bad({"a constant cannot be assigned to"});
  if (with_namespace && SkipSign(".")) {
    target = Make(Kind::kAttribute, line, std::move(target));
    target->name = ExpectName();
  }
  return target;
}

ExpressionPtr Parser::ParseTarget(bool with_namespace) {
  const Level level(this);
  const int line = Current().line;
  const auto one = [&] {
    if (!SkipSign("(")) return ParseTargetName(with_namespace);
    ExpressionPtr inner = ParseTarget(with_namespace);
    ExpectSign(")");
    return inner;
  };
  ExpressionPtr first = one();
  if (!IsSign(",")) return first;
  ExpressionPtr tuple = Make(Kind::kTuple, line, std::move(first));
  while (SkipSign(",") && (Current().type == TokenType::kName || IsSign("(")) && !IsName("in"))
    Add(*tuple, one());
  return tuple;
}

std::unique_ptr<Statement> Parser::ParseSet(int line) {
  auto statement = std::make_unique<Statement>();
  statement->line = line;
  statement->target = ParseTarget(/*with_namespace=*/true);
  if (SkipSign("=")) {
    statement->kind = Statement::Kind::kSet;
    statement->value = ParseTuple(/*with_condition=*/true);
    return statement;
  }
  statement->kind = Statement::Kind::kSetBlock;
  statement->value = MakeBlockText(line);
  while (SkipSign("|")) statement->value = ParseFilter(std::move(statement->value));
  statement->body = ParseBody({"endset"});
  ++at_;
  return statement;
}

void Parser::ParseSignature(MacroDefinition* macro) {
  ExpectSign("(");
  while (!IsSign(")")) {
    if (!macro->parameters.empty()) ExpectSign(",");
    macro->parameters.push_back(ExpectName());
    if (SkipSign("=")) {
      macro->defaults.push_back(ParseExpression());
    } else if (!macro->defaults.empty()) {
      Bad({"a parameter without a default follows one with a default"});
    }
  }
  ExpectSign(")");
}

std::unique_ptr<Statement> Parser::ParseMacro(int line) {
  auto statement = std::make_unique<Statement>();
  statement->kind = Statement::Kind::kMacro;
  statement->line = line;
  statement->macro = std::make_unique<MacroDefinition>();
  statement->macro->name = ExpectName();
  ParseSignature(statement->macro.get());
  const int loops = std::exchange(loops_, 0);
  const bool in_macro = std::exchange(in_macro_, true);
  statement->macro->body = ParseBody({"endmacro"});
  in_macro_ = in_macro;
  loops_ = loops;
  ++at_;
  return statement;
}

}  // namespace

Block ParseTemplate(std::string_view source) { return Parser(Tokenize(source)).Parse(); }

}  // namespace longspan::jinja
