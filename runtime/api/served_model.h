// What the server serves, once it is loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/api/answer_grammars.h"
#include "runtime/api/tool_call_format.h"
#include "runtime/chat/chat_template.h"
#include "runtime/coordinator/coordinator.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// Pointers belong to whoever made it and outlive the server's use.
struct ServedModel {
  std::string name;
  const Tokenizer* tokenizer = nullptr;  // null: prompts are token ids
  const ChatTemplate* chat = nullptr;    // null where the tokenizer is
  std::vector<int32_t> eos_token_ids;
  ToolCallFormat tool_call_format = ToolCallFormat::kJson;
  std::vector<int32_t> tool_call_tokens;  // ToolCallTokens of the format
  bool template_knows_tools = false;
  std::shared_ptr<AnswerGrammars> grammars;
  Coordinator* coordinator = nullptr;

  // Of what decides the numbers of answers; empty before the first group has joined.
  std::string Fingerprint() const;
};

}  // namespace longspan
