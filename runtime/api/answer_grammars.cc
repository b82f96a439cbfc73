#include "runtime/api/answer_grammars.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/openai_error.h"

namespace longspan {
namespace {

constexpr size_t kMaxGrammars = 16;  // kept

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

std::string AnswerGrammars::TextOf(const CompletionCall& call) {
  nlohmann::ordered_json text;
  if (call.tools.choice == ToolUse::Choice::kRequired || call.tools.choice == ToolUse::Choice::kNamed) {
    nlohmann::ordered_json& functions = text["calls"];
    for (const ToolUse::Function& function : call.tools.functions) {
      functions.push_back({{"name", function.name}, {"parameters", function.parameters}});
    }
  } else if (call.response_format.kind == ResponseFormat::Kind::kJsonObject) {
    text["object"] = true;
  } else if (call.response_format.kind == ResponseFormat::Kind::kJsonSchema) {
    text["schema"] = call.response_format.schema;
  }
  return text.empty() ? "" : text.dump();
}

absl::StatusOr<Grammar::Shared> AnswerGrammars::For(const std::string& text) {
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
    if (const auto it = grammars_.find(text); it != grammars_.end()) return it->second;
  }
  const auto parsed = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  LONGSPAN_ASSIGN_OR_RETURN(Grammar::Shared grammar, Compile(parsed));
  const std::lock_guard lock(mutex_);
  if (grammars_.size() >= kMaxGrammars) grammars_.clear();
  return grammars_.emplace(text, std::move(grammar)).first->second;
}

absl::StatusOr<Grammar::Shared> AnswerGrammars::Compile(const nlohmann::ordered_json& text) const {
  if (text.contains("calls")) return CompileCalls(text["calls"]);
  if (text.contains("object")) return Grammar::JsonObject();
  if (!text.contains("schema")) return absl::InvalidArgumentError("a grammar of unknown kind");
  absl::StatusOr<Grammar::Shared> grammar = Grammar::FromJsonSchema(text["schema"]);
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

absl::StatusOr<Grammar::Shared> AnswerGrammars::CompileCalls(const nlohmann::ordered_json& functions) const {
  const ToolCallLiterals literals = LiteralsOf(format_);
  std::vector<Grammar::Shared> calls;
  for (const nlohmann::ordered_json& function : functions) {
    const bool sound = function.is_object() && function.contains("name") && function["name"].is_string() &&
                       function.contains("parameters");
    if (!sound) return absl::InvalidArgumentError("a grammar of a function without name or parameters");
    absl::StatusOr<Grammar::Shared> arguments = Grammar::FromJsonSchema(function["parameters"]);
    if (!arguments.ok()) {
      return WithParam(arguments.status(), absl::StrCat("tools[", calls.size(), "].function.parameters"));
    }
    std::vector<Grammar::Shared> parts;
    AddText(literals.before, &parts);
    AddText(function["name"].get<std::string>(), &parts);
    AddText(literals.between, &parts);
    parts.push_back(*std::move(arguments));
    AddText(literals.after, &parts);
    LONGSPAN_ASSIGN_OR_RETURN(calls.emplace_back(), Grammar::Concatenation(parts));
  }
  absl::StatusOr<Grammar::Shared> any = Grammar::AnyOf(calls);
  if (!any.ok()) return WithParam(any.status(), "tools");
  return any;
}

absl::StatusOr<int64_t> AnswerGrammars::LeastTokens(const std::string& text) {
  LONGSPAN_ASSIGN_OR_RETURN(const Grammar::Shared grammar, For(text));
  return grammar->LeastTokens(vocabulary_);
}

absl::StatusOr<std::unique_ptr<TokenConstraint>> AnswerGrammars::NewConstraint(const std::string& text) {
  LONGSPAN_ASSIGN_OR_RETURN(const Grammar::Shared grammar, For(text));
  return longspan::NewConstraint(grammar, vocabulary_);
}

}  // namespace longspan
