#include "runtime/api/openai_logprobs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/api/json_writer.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

void AppendLogprob(double logprob, std::string* out) {
  constexpr double kLeast = -9999;  // JSON has no infinity
  AppendJsonNumber(std::max(logprob, kLeast), out);
}

void AppendComma(std::string* list) {
  if (!list->empty()) *list += ',';
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

void LogprobsWriter::AppendFirst(int32_t token) {
  drop_space_ = tokenizer_ != nullptr && tokenizer_->strips_leading_space();
  AppendToCompletion(token, nullptr);
}

void LogprobsWriter::Append(const PositionLogprobs& position) {
  if (chat_) {
    AppendToChat(position);
  } else {
    AppendToCompletion(position.chosen.token, &position);
  }
}

std::string LogprobsWriter::Take() {
  std::string result = "null";
  if (chat_ && !content_.empty()) {
    result = absl::StrCat("{\"content\":[", content_, "],\"refusal\":null}");
  } else if (!tokens_.empty()) {
    result = absl::StrCat("{\"tokens\":[", tokens_, "],\"token_logprobs\":[", logprobs_,
                          "],\"top_logprobs\":[", top_logprobs_, "],\"text_offset\":[", offsets_, "]}");
  }
  for (std::string* list : {&content_, &tokens_, &logprobs_, &top_logprobs_, &offsets_}) list->clear();
  return result;
}

void LogprobsWriter::AppendToChat(const PositionLogprobs& position) {
  AppendComma(&content_);
  content_ += '{';
  AppendChatToken(position.chosen, &content_);
  content_ += ",\"top_logprobs\":[";
  for (size_t i = 0; i < position.top.size(); ++i) {
    content_ += i == 0 ? "{" : ",{";
    AppendChatToken(position.top[i], &content_);
    content_ += '}';
  }
  content_ += "]}";
}

void LogprobsWriter::AppendChatToken(const TokenLogprob& token, std::string* out) const {
  const std::string text = Spelling(token.token);
  *out += "\"token\":";
  AppendJsonString(text, out);
  *out += ",\"logprob\":";
  AppendLogprob(token.logprob, out);
  *out += ",\"bytes\":[";
  for (size_t i = 0; i < text.size(); ++i) {
    absl::StrAppend(out, i == 0 ? "" : ",", static_cast<int>(static_cast<unsigned char>(text[i])));
  }
  *out += ']';
}

void LogprobsWriter::AppendToCompletion(int32_t token, const PositionLogprobs* position) {
  for (std::string* list : {&tokens_, &logprobs_, &top_logprobs_, &offsets_}) AppendComma(list);
  AppendJsonString(CompletionText(token), &tokens_);
  absl::StrAppend(&offsets_, characters_);
  characters_ += CharactersOf(token);
  if (position == nullptr) {
    logprobs_ += "null";
    top_logprobs_ += "null";
  } else {
    AppendLogprob(position->chosen.logprob, &logprobs_);
    top_logprobs_ += TopByText(*position);
  }
}

// {text: logprob} of the likeliest tokens and the chosen one. Of tokens with the same text the likeliest is
// told.
std::string LogprobsWriter::TopByText(const PositionLogprobs& position) const {
  std::vector<TokenLogprob> all = position.top;
  all.push_back(position.chosen);
  std::vector<std::string> texts;
  std::string object = "{";
  for (const TokenLogprob& token : all) {
    std::string text = CompletionText(token.token);
    if (std::find(texts.begin(), texts.end(), text) != texts.end()) continue;
    if (!texts.empty()) object += ',';
    AppendJsonString(text, &object);
    object += ':';
    AppendLogprob(token.logprob, &object);
    texts.push_back(std::move(text));
  }
  return object + "}";
}

std::string LogprobsWriter::Spelling(int32_t token) const {
  return tokenizer_ == nullptr ? absl::StrCat("token_id:", token) : tokenizer_->Spelling(token);
}

// Bytes that are no text stay apart from each other, written as OpenAI does: bytes:\xe2\x96.
std::string LogprobsWriter::CompletionText(int32_t token) const {
  std::string text = Spelling(token);
  if (!FindInvalidUtf8(text).has_value()) return text;
  std::string bytes = "bytes:";
  for (const char c : text) absl::StrAppendFormat(&bytes, "\\x%02x", static_cast<unsigned char>(c));
  return bytes;
}

// A character counts where its first byte is.
int64_t LogprobsWriter::CharactersOf(int32_t token) {
  if (tokenizer_ == nullptr || tokenizer_->IsSpecial(token)) return 0;
  const std::string text = tokenizer_->TokenBytes(token);
  const bool dropped = std::exchange(drop_space_, false) && text.starts_with(' ');
  return std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }) -
         (dropped ? 1 : 0);
}

}  // namespace longspan
