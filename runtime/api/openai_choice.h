// One choice of an answer: puts together what was generated for it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/api/openai_logprobs.h"
#include "runtime/api/tool_call_parser.h"
#include "runtime/engine/logprobs.h"
#include "runtime/engine/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct ChoiceOptions {
  bool chat = false;
  bool stream = false;
  bool logprobs = false;                       // tell them
  bool token_ids = false;                      // tell them
  const Tokenizer* tokenizer = nullptr;        // may be null
  std::optional<ToolCallParserOptions> tools;  // absent: no text is a call
  std::string id;                              // of the response
};

// Threads: one at a time.
class Choice final : public ToolCallListener {
 public:
  // `options` must outlive this.
  Choice(const ChoiceOptions* options, int index);

  // As CompletionResponse's functions of these names.
  void OnPrompt(std::string_view text, std::span<const int32_t> tokens,
                std::span<const PositionLogprobs> logprobs);
  void OnText(std::string_view text, std::span<const int32_t> tokens,
              std::span<const PositionLogprobs> logprobs);
  void OnFinish(FinishReason reason);

  // Streaming a chat: the role.
  void Begin();
  // Streaming: the JSON objects for "choices" of coming chunks, one each.
  std::vector<std::string> TakeChunks();
  // Otherwise: the whole one, after OnFinish.
  std::string Whole();

 private:
  struct Call {
    std::string id, name, arguments;
  };

  void OnContent(std::string_view text) override;
  void OnCall(std::string_view name) override;
  void OnArguments(std::string_view json_fragment) override;

  void Append(std::span<const int32_t> tokens, std::span<const PositionLogprobs> logprobs);
  // `what` is "delta", "message" or "text".
  std::string Object(std::string_view what, std::string_view json);
  std::string Message() const;
  std::string NewCallId() const;

  const ChoiceOptions& options_;
  const int index_;
  std::optional<ToolCallParser> parser_;
  LogprobsWriter logprobs_;
  std::string token_ids_;  // with commas between
  std::string finish_reason_ = "null";
  int calls_count_ = 0;

  std::vector<std::string> chunks_;  // streaming
  std::string content_;              // otherwise
  std::vector<Call> calls_;
};

}  // namespace longspan
