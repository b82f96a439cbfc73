// What a server needs of a model beside its weights: how text becomes tokens, and what answers may be.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/api/answer_grammars.h"
#include "runtime/api/served_model.h"
#include "runtime/api/tool_call_format.h"
#include "runtime/chat/chat_template.h"
#include "runtime/model/model_source.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct ModelTexts {
  std::unique_ptr<Tokenizer> tokenizer;  // null: prompts and answers are token ids
  std::optional<ChatTemplate> chat;      // absent where the tokenizer is
  std::vector<int32_t> eos_token_ids;
  ToolCallFormat tool_call_format = ToolCallFormat::kJson;
  std::vector<int32_t> tool_call_tokens;
  bool template_knows_tools = false;
  std::shared_ptr<AnswerGrammars> grammars;
  std::string fingerprint;  // of the tokenizer: every token's spelling; empty without one

  // Warns where the model brings less than a server could use.
  static absl::StatusOr<ModelTexts> Open(const ModelSource& source);

  // For a server; points into this.
  ServedModel Serve(std::string name) const;
};

// What --served-model-name is when it is not given: the file's, or the folder's.
std::string ModelNameOf(const std::string& path);

}  // namespace longspan
