#include "runtime/generation/generation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longspan {

Generation::Generation(GenerationOptions options, const Tokenizer* tokenizer, const Clock& clock)
    : options_(std::move(options)),
      tokenizer_(tokenizer),
      clock_(clock),
      begin_(clock.Now()),
      stop_text_(options_.stop) {
  if (tokenizer_ != nullptr) decoder_.emplace(*tokenizer_, /*at_start=*/false);
  if (options_.digest) digest_ = std::make_unique<LogitsDigest>();
  if (options_.logprobs) logprobs_.emplace();
}

void Generation::OnLogits(int64_t, std::span<const float> logits) {
  if (digest_ != nullptr) digest_->Add(logits);
  if (logprobs_) logits_.assign(logits.begin(), logits.end());
}

bool Generation::OnToken(int32_t token) {
  last_token_ = clock_.Now();
  if (!first_token_) first_token_ = last_token_;
  tokens_.push_back(token);
  if (logprobs_) logprobs_->push_back(ComputeLogprobs(logits_, token, *options_.logprobs));
  if (options_.on_token) options_.on_token();
  const auto& eos = options_.eos_token_ids;
  if (std::find(eos.begin(), eos.end(), token) != eos.end()) return true;
  if (!decoder_) {
    if (options_.on_text) options_.on_text(absl::StrCat(tokens_.size() == 1 ? "" : " ", token));
    return true;
  }
  std::string text = decoder_->Append(token);
  const auto& spelled = options_.spelled_tokens;
  if (std::find(spelled.begin(), spelled.end(), token) != spelled.end()) text += tokenizer_->Spelling(token);
  Show(stop_text_.Append(text));
  return !stop_text_.stopped();
}

void Generation::OnFinish(FinishReason reason) {
  end_ = clock_.Now();
  reason_ = reason;
  if (decoder_) {
    Show(stop_text_.Append(decoder_->Finish()));
    Show(stop_text_.Finish());
  }
}

void Generation::Show(const std::string& text) {
  if (text.empty()) return;
  text_ += text;
  if (options_.on_text) options_.on_text(text);
}

std::optional<double> Generation::Since(const std::optional<Clock::Time>& time) const {
  if (!time) return std::nullopt;
  return ToSeconds(*time - begin_);
}

}  // namespace longspan
