// What a call's answer must be, as a grammar: response_format, and tools that have to be called.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/api/openai_request.h"
#include "runtime/api/tool_call_format.h"
#include "runtime/grammar/grammar.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// Threads: all methods from any thread.
class AnswerGrammars {
 public:
  // `tool_call_tokens`: ToolCallTokens of the format. `tokenizer` outlives the object; null, or a model
  // without an end-of-sequence token: grammars are refused.
  AnswerGrammars(const Tokenizer* tokenizer, int64_t vocab_size, std::vector<int32_t> eos_token_ids,
                 ToolCallFormat format, const std::vector<int32_t>& tool_call_tokens);

  // What decides a call's grammar, for Request::grammar; empty when the answer may be any text.
  static std::string TextOf(const CompletionCall& call);

  // `text` is TextOf a call. Grammars of the same text are shared, with what was worked out for them.
  // InvalidArgument names what is wrong with a schema.
  absl::StatusOr<int64_t> LeastTokens(const std::string& text);
  absl::StatusOr<std::unique_ptr<TokenConstraint>> NewConstraint(const std::string& text);

 private:
  absl::StatusOr<Grammar::Shared> For(const std::string& text);
  absl::StatusOr<Grammar::Shared> Compile(const nlohmann::ordered_json& text) const;
  absl::StatusOr<Grammar::Shared> CompileCalls(const nlohmann::ordered_json& functions) const;
  void AddText(std::string_view text, std::vector<Grammar::Shared>* parts) const;

  const Tokenizer* const tokenizer_;
  const int64_t vocab_size_;
  const std::vector<int32_t> eos_token_ids_;
  const ToolCallFormat format_;
  std::vector<std::string> markers_;  // of the format, those that are special tokens

  std::mutex mutex_;                                            // of the following
  std::shared_ptr<const TokenVocabulary> vocabulary_;           // made when first needed
  absl::flat_hash_map<std::string, Grammar::Shared> grammars_;  // by what they were made of
};

}  // namespace longspan
