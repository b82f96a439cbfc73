// Requests as OpenAI's API has them, from JSON. Fields that it does not name are ignored, unless they are
// extensions that are widely used (top_k, min_p, repetition_penalty, ignore_eos, priority, timeout,
// chat_template_kwargs, return_token_ids). null is the same as absent.
//
// Errors are InvalidArgument and carry "param" (openai_error.h). Lengths of prompts, ids beyond the
// vocabulary and whether a schema can be compiled are not checked here. Threads: pure functions.
// https://platform.openai.com/docs/api-reference/chat/create, …/completions/create
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "runtime/engine/request.h"

namespace longspan {

// What the answer's text must be.
struct ResponseFormat {
  enum class Kind : uint8_t { kText, kJsonObject, kJsonSchema };
  Kind kind = Kind::kText;
  nlohmann::ordered_json schema;  // kJsonSchema: a JSON object
};

// What the answer may or must call.
struct ToolUse {
  // kNone: nothing; kAuto: text or calls; kRequired: one call or more, of any function; kNamed: of function
  // 0.
  enum class Choice : uint8_t { kNone, kAuto, kRequired, kNamed };
  struct Function {
    std::string name;  // 1 to 64 of a-z A-Z 0-9 _ - .
    nlohmann::ordered_json
        parameters;  // JSON schema, an object; {"type": "object", "properties": {}} if absent
    bool strict = false;
  };
  Choice choice = Choice::kNone;
  std::vector<Function> functions;  // that can be called: empty with kNone, one with kNamed
  bool parallel = true;             // without, one call at most
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // text or token ids, which are not negative

// One POST to /v1/chat/completions or /v1/completions.
struct CompletionCall {
  bool chat = false;
  std::string model;  // empty: not named
  // For ChatTemplate::Render: "messages", "tools", members of chat_template_kwargs. Role "developer" has
  // become "system". Tools are left out where tool_choice is "none".
  nlohmann::ordered_json conversation;
  std::vector<Prompt> prompts;  // completions only; at least one
  int n = 1;                    // choices for each prompt; choice i is of prompt i / n
  bool echo = false;            // completions: the prompt comes first
  bool stream = false;
  bool include_usage = false;         // with stream: a last chunk with usage
  bool return_token_ids = false;      // choices tell "token_ids" too
  std::optional<int64_t> logprobs;    // of each token, and of so many (0 to 20) of the likeliest
  std::optional<int64_t> max_tokens;  // at least 1; 0 with echo
  SamplingParams sampling;            // temperature 1 where none is named
  std::vector<std::string> stop;      // at most 16, none empty
  bool ignore_eos = false;
  int priority = 0;                 // larger runs first
  std::optional<double> timeout_s;  // above 0, at most 1e9
  ResponseFormat response_format;
  ToolUse tools;

  int choices() const { return (chat ? 1 : static_cast<int>(prompts.size())) * n; }
};

absl::StatusOr<CompletionCall> ParseChatCompletion(std::string_view body);
absl::StatusOr<CompletionCall> ParseCompletion(std::string_view body);

// POST /tokenize: {"prompt": text, "add_special_tokens": true} or {"messages", "tools", …} as below;
// "return_token_strs" asks for the tokens' texts too.
struct TokenizeCall {
  std::string model;
  std::optional<std::string> prompt;
  nlohmann::ordered_json conversation;  // where there is no prompt
  bool add_special_tokens = true;
  bool return_token_strs = false;
};
absl::StatusOr<TokenizeCall> ParseTokenize(std::string_view body);

// POST /detokenize: {"tokens": ids}.
struct DetokenizeCall {
  std::string model;
  std::vector<int32_t> tokens;  // none negative
};
absl::StatusOr<DetokenizeCall> ParseDetokenize(std::string_view body);

// POST /apply-template: {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"}.
struct ApplyTemplateCall {
  std::string model;
  nlohmann::ordered_json conversation;  // for ChatTemplate::Render
};
absl::StatusOr<ApplyTemplateCall> ParseApplyTemplate(std::string_view body);

}  // namespace longspan
