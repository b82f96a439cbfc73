// What became of one request: its tokens as text, when they came, a digest of their logits, and
// log-probabilities.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/clock.h"
#include "runtime/engine/logprobs.h"
#include "runtime/engine/request.h"
#include "runtime/generation/logits_digest.h"
#include "runtime/generation/stop_text.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct GenerationOptions {
  std::vector<int32_t> prompt;
  std::vector<std::string> stop;
  std::vector<int32_t> eos_token_ids;   // not shown; empty when they do not end this request
  std::vector<int32_t> spelled_tokens;  // special tokens whose names are part of the text
  bool digest = false;                  // costs a pass over the logits of each token
  std::optional<size_t> logprobs;  // of each token, and of so many of the likeliest; costs the same again
  // Hears of text as it becomes final, or without a tokenizer of each token's id as text. May be empty.
  std::function<void(std::string_view text)> on_text;
  // Called for each token while the request still holds its KV. May be empty.
  std::function<void()> on_token;
};

// Listens to one request from its construction, which is when the request is taken to have been submitted.
class Generation final : public RequestListener {
 public:
  // `tokenizer` may be null: then there is no text, and no stop string can be found. Both outlive this.
  Generation(GenerationOptions options, const Tokenizer* tokenizer, const Clock& clock);

  void OnLogits(int64_t position, std::span<const float> logits) override;
  bool OnToken(int32_t token) override;
  void OnFinish(FinishReason reason) override;

  bool finished() const { return reason_.has_value(); }
  FinishReason reason() const { return *reason_; }
  const std::vector<int32_t>& prompt() const { return options_.prompt; }
  const std::vector<int32_t>& tokens() const { return tokens_; }  // generated, end-of-sequence included
  const Tokenizer* tokenizer() const { return tokenizer_; }       // null: there is no text
  const std::string& text() const { return text_; }
  // For each token, when they were asked for.
  const std::optional<std::vector<PositionLogprobs>>& logprobs() const { return logprobs_; }
  std::string digest() const { return digest_ == nullptr ? "" : digest_->Hex(); }

  // Seconds from submission to the first token and to the last; nothing while there is no token.
  std::optional<double> first_token_s() const { return Since(first_token_); }
  std::optional<double> last_token_s() const { return Since(last_token_); }
  // From submission to the end.
  double end_to_end_s() const { return Since(end_).value_or(0); }

 private:
  std::optional<double> Since(const std::optional<Clock::Time>& time) const;
  void Show(const std::string& text);

  const GenerationOptions options_;
  const Tokenizer* const tokenizer_;
  const Clock& clock_;
  const Clock::Time begin_;
  std::optional<Clock::Time> first_token_, last_token_, end_;
  std::optional<StreamDecoder> decoder_;
  std::unique_ptr<LogitsDigest> digest_;
  std::vector<float> logits_;  // [vocab], of the coming token; kept for logprobs only
  std::optional<std::vector<PositionLogprobs>> logprobs_;
  StopText stop_text_;
  std::vector<int32_t> tokens_;
  std::string text_;
  std::optional<FinishReason> reason_;
};

}  // namespace longspan
