#include "runtime/api/openai_choice.h"

#include <utility>

#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "runtime/api/json_writer.h"

namespace longspan {

Choice::Choice(const ChoiceOptions* options, int index)
    : options_(*options), index_(index), logprobs_(options->chat, options->tokenizer) {
  if (options_.tools.has_value()) parser_.emplace(*options_.tools, this);
}

void Choice::Begin() {
  if (!options_.chat) return;
  chunks_.push_back(Object("delta", R"({"role":"assistant","content":"","refusal":null})"));
}

void Choice::OnPrompt(std::string_view text, std::span<const int32_t> tokens,
                      std::span<const PositionLogprobs> logprobs) {
  if (options_.logprobs && !tokens.empty()) logprobs_.AppendFirst(tokens.front());
  Append(tokens, logprobs);
  if (!text.empty()) OnContent(text);
}

void Choice::OnText(std::string_view text, std::span<const int32_t> tokens,
                    std::span<const PositionLogprobs> logprobs) {
  Append(tokens, logprobs);
  if (text.empty()) return;
  if (parser_.has_value()) {
    parser_->Append(text);
  } else {
    OnContent(text);
  }
}

void Choice::OnFinish(FinishReason reason) {
  if (parser_.has_value()) parser_->Finish();
  const bool called = reason == FinishReason::kStop && calls_count_ > 0;
  finish_reason_ = JsonString(called ? "tool_calls" : Name(reason));
  if (!options_.stream) return;
  chunks_.push_back(options_.chat ? Object("delta", "{}") : Object("text", "\"\""));
}

std::vector<std::string> Choice::TakeChunks() { return std::exchange(chunks_, {}); }

std::string Choice::Whole() {
  return options_.chat ? Object("message", Message()) : Object("text", JsonString(content_));
}

void Choice::OnContent(std::string_view text) {
  if (!options_.stream) {
    content_ += text;
  } else if (options_.chat) {
    std::string delta = "{\"content\":";
    AppendJsonString(text, &delta);
    chunks_.push_back(Object("delta", delta + "}"));
  } else {
    chunks_.push_back(Object("text", JsonString(text)));
  }
}

void Choice::OnCall(std::string_view name) {
  Call call = {NewCallId(), std::string(name), ""};
  if (options_.stream) {
    chunks_.push_back(Object(
        "delta", absl::StrCat("{\"tool_calls\":[{\"index\":", calls_count_, ",\"id\":", JsonString(call.id),
                              ",\"type\":\"function\",\"function\":{\"name\":", JsonString(name),
                              ",\"arguments\":\"\"}}]}")));
  } else {
    calls_.push_back(std::move(call));
  }
  ++calls_count_;
}

void Choice::OnArguments(std::string_view json_fragment) {
  if (!options_.stream) {
    calls_.back().arguments += json_fragment;
    return;
  }
  chunks_.push_back(
      Object("delta", absl::StrCat("{\"tool_calls\":[{\"index\":", calls_count_ - 1,
                                   ",\"function\":{\"arguments\":", JsonString(json_fragment), "}}]}")));
}

void Choice::Append(std::span<const int32_t> tokens, std::span<const PositionLogprobs> logprobs) {
  if (options_.logprobs) {
    for (const PositionLogprobs& position : logprobs) logprobs_.Append(position);
  }
  if (!options_.token_ids) return;
  for (const int32_t token : tokens) absl::StrAppend(&token_ids_, token_ids_.empty() ? "" : ",", token);
}

std::string Choice::Object(std::string_view what, std::string_view json) {
  std::string object = absl::StrCat("{\"index\":", index_, ",\"");
  object += what;
  object += "\":";
  object += json;
  absl::StrAppend(&object, ",\"logprobs\":", logprobs_.Take());
  if (options_.token_ids) absl::StrAppend(&object, ",\"token_ids\":[", std::exchange(token_ids_, {}), "]");
  absl::StrAppend(&object, ",\"finish_reason\":", finish_reason_, "}");
  return object;
}

std::string Choice::Message() const {
  // With calls and nothing said, content is null.
  std::string message = "{\"role\":\"assistant\",\"content\":";
  message += content_.empty() && !calls_.empty() ? "null" : JsonString(content_);
  message += ",\"refusal\":null";
  for (size_t i = 0; i < calls_.size(); ++i) {
    const Call& call = calls_[i];
    absl::StrAppend(&message, i == 0 ? ",\"tool_calls\":[" : ",", "{\"id\":", JsonString(call.id),
                    ",\"type\":\"function\",\"function\":{\"name\":", JsonString(call.name),
                    ",\"arguments\":", JsonString(call.arguments), "}}");
  }
  return message + (calls_.empty() ? "}" : "]}");
}

// Different for each call of each response. Mistral's templates insist on nine letters and digits.
std::string Choice::NewCallId() const {
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const ToolCallFormat format = options_.tools->format;
  const bool mistral = format == ToolCallFormat::kMistral || format == ToolCallFormat::kMistralArgs;
  const std::string name = absl::StrCat(options_.id, "/", index_, "/", calls_count_);
  const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
  std::string id = mistral ? "" : "call_";
  for (uint64_t part : {hash.low64, hash.high64}) {
    for (int i = 0; i < 9; ++i) {
      id += kDigits[part % kDigits.size()];
      part /= kDigits.size();
    }
    if (mistral) break;
  }
  return id;
}

}  // namespace longspan
