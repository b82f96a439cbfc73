// Answers as OpenAI's API has them. Every text that leaves is valid UTF-8 and valid JSON.
// https://platform.openai.com/docs/api-reference/chat/object, …/chat/streaming, …/completions/object
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/api/openai_request.h"
#include "runtime/api/tool_call_format.h"
#include "runtime/engine/logprobs.h"
#include "runtime/engine/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct ResponseContext {
  std::string id;         // "chatcmpl-…" or "cmpl-…"; ids of tool calls are made of it
  int64_t created_s = 0;  // Unix time
  std::string model;
  std::string system_fingerprint;        // of what decides the numbers: weights, numerics
  const Tokenizer* tokenizer = nullptr;  // for logprobs; null: tokens are named by their ids
  ToolCallFormat tool_call_format = ToolCallFormat::kJson;  // looked at when the call may use tools
};

// Tokens of all prompts and all choices.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts
};

// Turns what is generated for a call into the bytes of its answer: server-sent events ("data: …\n\n") when it
// streams, else one JSON body. Between Begin and End each choice has OnPrompt at most once, then any number
// of OnText, then OnFinish; choices in any order among each other. A call that fails ends with ErrorEvent
// when something was sent already, else with ErrorBody. Threads: one at a time.
class CompletionResponse {
 public:
  CompletionResponse(const CompletionCall& call, const ResponseContext& context);
  ~CompletionResponse();

  // Streaming: the first events (a chat's roles). The functions below return events when streaming, perhaps
  // none; otherwise nothing until End.
  std::string Begin();

  // With echo. `text` is the prompt's; logprobs, when asked for, are of `tokens` from the second one on.
  std::string OnPrompt(int choice, std::string_view text, std::span<const int32_t> tokens,
                       std::span<const PositionLogprobs> logprobs);

  // New text, new tokens, and when they were asked for their logprobs. Each may be empty: tokens whose text
  // is held back can come before it.
  std::string OnText(int choice, std::string_view text, std::span<const int32_t> tokens,
                     std::span<const PositionLogprobs> logprobs);

  // finish_reason is Name(reason), or "tool_calls" when it is kStop and there were calls.
  std::string OnFinish(int choice, FinishReason reason);

  // Streaming: the usage chunk if it was asked for, and "data: [DONE]\n\n". Otherwise the body.
  std::string End(const Usage& usage);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan
