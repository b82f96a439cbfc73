#include "runtime/api/answer_grammars.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/openai_error.h"

namespace longspan {
namespace {

constexpr size_t kMaxGrammars = 16;  // kept

// What decides the grammar; empty for any text.
std::string KeyOf(const CompletionCall& call) {
  if (call.tools.choice == ToolUse::Choice::kRequired || call.tools.choice == ToolUse::Choice::kNamed) {
    std::string key = "call";
    for (const ToolUse::Function& function : call.tools.functions) {
      absl::StrAppend(&key, " ", function.name, " ", function.parameters.dump());
    }
    return key;
  }
  switch (call.response_format.kind) {
    case ResponseFormat::Kind::kText:
      break;
    case ResponseFormat::Kind::kJsonObject:
      return "object";
    case ResponseFormat::Kind::kJsonSchema:
      return absl::StrCat("schema ", call.response_format.schema.dump());
  }
  return "";
}

}  // namespace

AnswerGrammars::AnswerGrammars(const Tokenizer* tokenizer, int64_t vocab_size,
                               std::vector<int32_t> eos_token_ids, ToolCallFormat format,
                               const std::vector<int32_t>& tool_call_tokens)
    : tokenizer_(tokenizer),
      vocab_size_(vocab_size),
      eos_token_ids_(std::move(eos_token_ids)),
      format_(format) {
  for (const int32_t id : tool_call_tokens) markers_.push_back(tokenizer->Spelling(id));
}

absl::StatusOr<Grammar::Shared> AnswerGrammars::For(const CompletionCall& call) {
  const std::string key = KeyOf(call);
  if (key.empty()) return Grammar::Shared();
  {
    const std::lock_guard lock(mutex_);
    if (vocabulary_ == nullptr) {
      if (tokenizer_ == nullptr) {
        return InvalidField("response_format",
                            "this model brings no tokenizer, so its answers cannot be held to a grammar");
      }
      LONGSPAN_ASSIGN_OR_RETURN(vocabulary_,
                                TokenVocabulary::Create(*tokenizer_, vocab_size_, eos_token_ids_));
    }
    if (const auto it = grammars_.find(key); it != grammars_.end()) return it->second;
  }
  LONGSPAN_ASSIGN_OR_RETURN(Grammar::Shared grammar, Compile(call));
  const std::lock_guard lock(mutex_);
  if (grammars_.size() >= kMaxGrammars) grammars_.clear();
  return grammars_.emplace(key, std::move(grammar)).first->second;
}

absl::StatusOr<Grammar::Shared> AnswerGrammars::Compile(const CompletionCall& call) const {
  if (call.tools.choice == ToolUse::Choice::kRequired || call.tools.choice == ToolUse::Choice::kNamed) {
    return CompileCalls(call.tools);
  }
  if (call.response_format.kind == ResponseFormat::Kind::kJsonObject) return Grammar::JsonObject();
  absl::StatusOr<Grammar::Shared> grammar = Grammar::FromJsonSchema(call.response_format.schema);
  if (!grammar.ok()) return WithParam(grammar.status(), "response_format.json_schema.schema");
  return grammar;
}

// Text in which special tokens are written by their spelling.
void AnswerGrammars::AddText(std::string_view text, std::vector<Grammar::Shared>* parts) const {
  while (!text.empty()) {
    size_t begin = text.size();
    std::string_view found;
    for (const std::string& marker : markers_) {
      const size_t at = text.find(marker);
      if (at < begin) {
        begin = at;
        found = marker;
      }
    }
    if (begin > 0) parts->push_back(Grammar::Literal(text.substr(0, begin)));
    if (!found.empty()) parts->push_back(Grammar::SpecialToken(found));
    text.remove_prefix(begin + found.size());
  }
}

absl::StatusOr<Grammar::Shared> AnswerGrammars::CompileCalls(const ToolUse& tools) const {
  const ToolCallLiterals literals = LiteralsOf(format_);
  std::vector<Grammar::Shared> calls;
  for (size_t i = 0; i < tools.functions.size(); ++i) {
    const ToolUse::Function& function = tools.functions[i];
    absl::StatusOr<Grammar::Shared> arguments = Grammar::FromJsonSchema(function.parameters);
    if (!arguments.ok())
      return WithParam(arguments.status(), absl::StrCat("tools[", i, "].function.parameters"));
    std::vector<Grammar::Shared> parts;
    AddText(literals.before, &parts);
    AddText(function.name, &parts);
    AddText(literals.between, &parts);
    parts.push_back(*std::move(arguments));
    AddText(literals.after, &parts);
    LONGSPAN_ASSIGN_OR_RETURN(calls.emplace_back(), Grammar::Concatenation(parts));
  }
  absl::StatusOr<Grammar::Shared> any = Grammar::AnyOf(calls);
  if (!any.ok()) return WithParam(any.status(), "tools");
  return any;
}

int64_t AnswerGrammars::LeastTokens(const Grammar::Shared& grammar) const {
  return grammar->LeastTokens(vocabulary_);
}

std::unique_ptr<TokenConstraint> AnswerGrammars::NewConstraint(const Grammar::Shared& grammar) const {
  return longspan::NewConstraint(grammar, vocabulary_);
}

}  // namespace longspan
