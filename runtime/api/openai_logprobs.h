// Log-probabilities of a choice's tokens in the two forms of OpenAI's API: of chats a list of tokens, of
// completions a list for each property.
// https://platform.openai.com/docs/api-reference/chat/object (logprobs), …/completions/object (logprobs)
#pragma once

#include <cstdint>
#include <string>

#include "runtime/engine/logprobs.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

class LogprobsWriter {
 public:
  // `tokenizer` may be null: tokens are named "token_id:7". It must outlive this.
  LogprobsWriter(bool chat, const Tokenizer* tokenizer) : chat_(chat), tokenizer_(tokenizer) {}

  // A prompt's first token, which nothing comes before: without a log-probability.
  void AppendFirst(int32_t token);
  void Append(const PositionLogprobs& position);

  // What was appended since the last time, as JSON; "null" when there is nothing.
  std::string Take();

 private:
  void AppendToChat(const PositionLogprobs& position);
  void AppendToCompletion(int32_t token, const PositionLogprobs* position);
  void AppendChatToken(const TokenLogprob& token, std::string* out) const;
  std::string TopByText(const PositionLogprobs& position) const;
  std::string Spelling(int32_t token) const;
  std::string CompletionText(int32_t token) const;
  int64_t CharactersOf(int32_t token);

  const bool chat_;
  const Tokenizer* const tokenizer_;
  std::string content_;                                     // of a chat
  std::string tokens_, logprobs_, top_logprobs_, offsets_;  // of a completion; all with commas between
  int64_t characters_ = 0;   // of the completion's text before the coming token
  bool drop_space_ = false;  // the coming token is a text's first and stands with a space that the text lacks
};

}  // namespace longspan
