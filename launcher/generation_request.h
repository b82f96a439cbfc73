// One text to generate, as users ask for it: on the command line or as a line of a file.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/cli_fwd.h"
#include "runtime/chat/chat_template.h"
#include "runtime/engine/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct GenerationRequest {
  // One of them is there.
  std::optional<std::string> prompt;        // text to continue
  std::optional<std::string> conversation;  // to answer: a JSON object as in runtime/chat/chat_template.h
  std::vector<int32_t> token_ids;
  std::optional<int64_t> max_tokens;
  SamplingParams sampling;
  std::vector<std::string> stop;  // none empty
  bool ignore_eos = false;
  std::optional<int64_t> logprobs;  // how many of the likeliest tokens to tell beside each generated one
};

// Makes a prompt the only message of a conversation, from the user.
void AskAsUser(GenerationRequest* request);

// Options of everything but the prompt. `request` must outlive the parsing.
void AddSamplingOptions(CLI::App& app, GenerationRequest* request);

// One JSON object a line, with "prompt", "messages" or "token_ids" and any of the sampling options as fields
// (max_tokens, top_k, …; "stop" a string or an array, "logit_bias" an object of token ids). "messages" may
// come with "tools" and with "chat_template_kwargs", an object of what else the chat template is given. What
// a line does not say is as in `defaults`. Empty lines are skipped. Errors name `origin`, the line and the
// field.
absl::StatusOr<std::vector<GenerationRequest>> ParseRequestLines(std::string_view text,
                                                                 const std::string& origin,
                                                                 const GenerationRequest& defaults);

// "ID:BIAS" as --logit-bias takes it.
absl::StatusOr<std::pair<int32_t, float>> ParseLogitBias(std::string_view text);

// What the engine gets. `tokenizer` may be null where the prompt is token ids, `chat` where it is no
// conversation. `now` is local time, for chat templates.
absl::StatusOr<Request> ToEngineRequest(const GenerationRequest& request, const Tokenizer* tokenizer,
                                        const ChatTemplate* chat, const std::tm& now);

}  // namespace longspan
