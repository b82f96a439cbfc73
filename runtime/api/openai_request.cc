#include "runtime/api/openai_request.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/openai_error.h"
#include "runtime/api/openai_messages.h"
#include "runtime/api/openai_tools.h"
#include "runtime/api/request_fields.h"
#include "runtime/chat/json_text.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kMostChoices = 128;  // for each prompt, as OpenAI's API
constexpr size_t kMostPrompts = 2048;
constexpr int64_t kMostLogprobs = 20;
constexpr size_t kMostStops = 16;
constexpr size_t kMostBiases = 1024;
constexpr double kMostBias = 100;
constexpr int64_t kMostWhole = std::numeric_limits<int64_t>::max();
constexpr double kMostTimeoutS = 1e9;

absl::StatusOr<ordered_json> ParseObject(std::string_view body) {
  absl::StatusOr<ordered_json> parsed = ParseJsonText(body);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body of the request ", std::string(parsed.status().message())));
  }
  if (!parsed->is_object()) return absl::InvalidArgumentError("the body of the request is not a JSON object");
  return parsed;
}

absl::Status ReadStop(const RequestFields& fields, std::vector<std::string>* stop) {
  const ordered_json* const value = fields.Find("stop");
  if (value == nullptr) return absl::OkStatus();
  const std::string what = absl::StrCat("a string or a list of at most ", kMostStops, ", none of them empty");
  if (value->is_string()) {
    stop->push_back(value->get<std::string>());
  } else if (value->is_array()) {
    if (value->size() > kMostStops) {
      return InvalidField("stop", absl::StrCat("has ", value->size(), " strings; it must be ", what));
    }
    for (const ordered_json& item : *value) {
      if (!item.is_string()) return MustBe(absl::StrCat("stop[", stop->size(), "]"), item, "a string");
      stop->push_back(item.get<std::string>());
    }
  } else {
    return MustBe("stop", *value, what);
  }
  for (const std::string& text : *stop) {
    if (text.empty()) return InvalidField("stop", absl::StrCat("has an empty string; it must be ", what));
  }
  return absl::OkStatus();
}

absl::Status ReadLogitBias(const RequestFields& fields, std::vector<std::pair<int32_t, float>>* biases) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const object, fields.FindObject("logit_bias"));
  if (object == nullptr) return absl::OkStatus();
  if (object->size() > kMostBiases) {
    return InvalidField("logit_bias", absl::StrCat("has ", object->size(), " members; at most ", kMostBiases,
                                                   " can be given"));
  }
  for (const auto& [id, bias] : object->get_ref<const ordered_json::object_t&>()) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(id, &token) || token < 0) {
      return InvalidField("logit_bias", absl::StrCat("has the name ", ordered_json(id).dump(),
                                                     "; names must be token ids, as \"42\""));
    }
    if (!bias.is_number() || bias.get<double>() < -kMostBias || bias.get<double>() > kMostBias) {
      return MustBe(absl::StrCat("logit_bias.", id), bias, "a number from -100 to 100");
    }
    biases->emplace_back(token, bias.get<float>());
  }
  return absl::OkStatus();
}

// Any 64 bits; negative ones as two's complement.
absl::Status ReadSeed(const RequestFields& fields, std::optional<uint64_t>* seed) {
  const ordered_json* const value = fields.Find("seed");
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number_integer()) return MustBe("seed", *value, "a whole number from -2^63 to 2^64 - 1");
  *seed = value->is_number_unsigned() ? value->get<uint64_t>() : static_cast<uint64_t>(value->get<int64_t>());
  return absl::OkStatus();
}

absl::Status ReadSampling(const RequestFields& fields, SamplingParams* sampling) {
  sampling->temperature = 1;
  int64_t top_k = 0;  // -1 is widely used for all
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("temperature", 0, 2, &sampling->temperature));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("top_p", 0, 1, &sampling->top_p));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("top_k", -1, kMostWhole, &top_k));
  sampling->top_k = top_k < 0 ? 0 : top_k;
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("min_p", 0, 1, &sampling->min_p));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("presence_penalty", -2, 2, &sampling->presence_penalty));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("frequency_penalty", -2, 2, &sampling->frequency_penalty));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("repetition_penalty", 0.01, 100, &sampling->repetition_penalty));
  LONGSPAN_RETURN_IF_ERROR(ReadLogitBias(fields, &sampling->logit_bias));
  return ReadSeed(fields, &sampling->seed);
}

absl::Status ReadStreaming(const RequestFields& fields, CompletionCall* call) {
  LONGSPAN_RETURN_IF_ERROR(fields.Read("stream", &call->stream));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const options, fields.FindObject("stream_options"));
  if (options == nullptr) return absl::OkStatus();
  if (!call->stream) return InvalidField("stream_options", "can only be given with \"stream\": true");
  return RequestFields(*options, "stream_options").Read("include_usage", &call->include_usage);
}

// What both endpoints have.
absl::Status ReadCommon(const ordered_json& request, CompletionCall* call) {
  const RequestFields fields(request, "");
  constexpr int64_t kMostPriority = std::numeric_limits<int32_t>::max();
  int64_t n = 1, priority = 0;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("model", &call->model));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("n", 1, kMostChoices, &n));
  call->n = static_cast<int>(n);
  LONGSPAN_RETURN_IF_ERROR(ReadStreaming(fields, call));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("return_token_ids", &call->return_token_ids));
  LONGSPAN_RETURN_IF_ERROR(ReadSampling(fields, &call->sampling));
  LONGSPAN_RETURN_IF_ERROR(ReadStop(fields, &call->stop));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("ignore_eos", &call->ignore_eos));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("priority", -kMostPriority, kMostPriority, &priority));
  call->priority = static_cast<int>(priority);
  double timeout_s = 0;
  LONGSPAN_RETURN_IF_ERROR(fields.ReadReal("timeout", 0, kMostTimeoutS, &timeout_s));
  if (const ordered_json* const timeout = fields.Find("timeout")) {
    if (timeout_s <= 0) return MustBe("timeout", *timeout, "a number of seconds above 0");
    call->timeout_s = timeout_s;
  }
  LONGSPAN_ASSIGN_OR_RETURN(call->response_format, ReadResponseFormat(request));
  return absl::OkStatus();
}

absl::Status ReadChatMaxTokens(const RequestFields& fields, std::optional<int64_t>* max_tokens) {
  std::optional<int64_t> older;
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("max_completion_tokens", 1, kMostWhole, max_tokens));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("max_tokens", 1, kMostWhole, &older));
  if (!max_tokens->has_value()) *max_tokens = older;
  if (older.has_value() && older != *max_tokens) {
    return InvalidField("max_tokens", absl::StrCat("is ", *older, " and 'max_completion_tokens' is ",
                                                   **max_tokens, "; give one of them"));
  }
  return absl::OkStatus();
}

// A boolean, and how many of the likeliest in a field of its own.
absl::Status ReadChatLogprobs(const RequestFields& fields, std::optional<int64_t>* logprobs) {
  bool wanted = false;
  std::optional<int64_t> top;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("logprobs", &wanted));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("top_logprobs", 0, kMostLogprobs, &top));
  if (wanted) *logprobs = top.value_or(0);
  if (!wanted && top.value_or(0) > 0)
    return InvalidField("top_logprobs", "can only be given with \"logprobs\": true");
  return absl::OkStatus();
}

// Audio and the like would be left out without a word.
absl::Status CheckModalities(const RequestFields& fields) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const list, fields.FindList("modalities"));
  if (list == nullptr) return absl::OkStatus();
  for (size_t i = 0; i < list->size(); ++i) {
    if ((*list)[i] != "text") return MustBe(absl::StrCat("modalities[", i, "]"), (*list)[i], "\"text\"");
  }
  return absl::OkStatus();
}

absl::Status ReadPrompts(const ordered_json& request, std::vector<Prompt>* prompts) {
  constexpr const char* kWhat =
      "a string, a list of strings, a list of token ids or a list of lists of token ids";
  const auto value = request.find("prompt");
  if (value == request.end()) return Missing("prompt", kWhat);
  if (value->is_string()) {
    prompts->emplace_back(value->get<std::string>());
    return absl::OkStatus();
  }
  if (!value->is_array() || value->empty()) return MustBe("prompt", *value, kWhat);
  if (value->front().is_number()) {
    LONGSPAN_ASSIGN_OR_RETURN(prompts->emplace_back(), ReadTokenIds("prompt", *value));
    return absl::OkStatus();
  }
  if (value->size() > kMostPrompts) {
    return InvalidField("prompt", absl::StrCat("is a list of ", value->size(), " prompts; at most ",
                                               kMostPrompts, " can be given"));
  }
  const bool texts = value->front().is_string();
  for (const ordered_json& item : *value) {
    const std::string path = absl::StrCat("prompt[", prompts->size(), "]");
    if (texts && item.is_string()) {
      prompts->emplace_back(item.get<std::string>());
    } else if (!texts && item.is_array() && !item.empty()) {
      LONGSPAN_ASSIGN_OR_RETURN(prompts->emplace_back(), ReadTokenIds(path, item));
    } else {
      return MustBe(path, item, texts ? "a string, as those before it" : "a list of at least one token id");
    }
  }
  return absl::OkStatus();
}

// Fields that would change the answer and are not there.
absl::Status RefuseCompletionFields(const RequestFields& fields, const CompletionCall& call) {
  if (fields.Find("suffix") != nullptr) {
    return InvalidField("suffix", "is not supported: text cannot be inserted before a suffix; leave it out");
  }
  std::optional<int64_t> best_of;
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("best_of", 1, kMostChoices, &best_of));
  if (best_of.has_value() && *best_of != call.n) {
    return InvalidField("best_of", absl::StrCat("is ", *best_of, " and 'n' is ", call.n,
                                                "; only best_of equal to n is supported"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ordered_json> ConversationWithTools(const ordered_json& request, const ToolUse& tools) {
  LONGSPAN_ASSIGN_OR_RETURN(ordered_json conversation, ReadConversation(request));
  if (tools.choice != ToolUse::Choice::kNone) conversation["tools"] = request["tools"];
  return conversation;
}

}  // namespace

absl::StatusOr<CompletionCall> ParseChatCompletion(std::string_view body) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json request, ParseObject(body));
  const RequestFields fields(request, "");
  CompletionCall call;
  call.chat = true;
  LONGSPAN_RETURN_IF_ERROR(ReadCommon(request, &call));
  LONGSPAN_RETURN_IF_ERROR(CheckModalities(fields));
  LONGSPAN_RETURN_IF_ERROR(ReadChatMaxTokens(fields, &call.max_tokens));
  LONGSPAN_RETURN_IF_ERROR(ReadChatLogprobs(fields, &call.logprobs));
  LONGSPAN_ASSIGN_OR_RETURN(call.tools, ReadToolUse(request));
  LONGSPAN_ASSIGN_OR_RETURN(call.conversation, ConversationWithTools(request, call.tools));
  return call;
}

absl::StatusOr<CompletionCall> ParseCompletion(std::string_view body) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json request, ParseObject(body));
  const RequestFields fields(request, "");
  CompletionCall call;
  LONGSPAN_RETURN_IF_ERROR(ReadCommon(request, &call));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("echo", &call.echo));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("max_tokens", call.echo ? 0 : 1, kMostWhole, &call.max_tokens));
  LONGSPAN_RETURN_IF_ERROR(fields.ReadWhole("logprobs", 0, kMostLogprobs, &call.logprobs));
  LONGSPAN_RETURN_IF_ERROR(RefuseCompletionFields(fields, call));
  LONGSPAN_RETURN_IF_ERROR(ReadPrompts(request, &call.prompts));
  if (call.choices() > static_cast<int>(kMostPrompts)) {
    return InvalidField("n", absl::StrCat("is ", call.n, " for each of ", call.prompts.size(),
                                          " prompts; at most ", kMostPrompts, " choices can be asked for"));
  }
  return call;
}

absl::StatusOr<TokenizeCall> ParseTokenize(std::string_view body) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json request, ParseObject(body));
  const RequestFields fields(request, "");
  TokenizeCall call;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("model", &call.model));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("add_special_tokens", &call.add_special_tokens));
  LONGSPAN_RETURN_IF_ERROR(fields.Read("return_token_strs", &call.return_token_strs));
  if (fields.Find("messages") != nullptr) {
    if (const ordered_json* const prompt = fields.Find("prompt")) {
      return MustBe("prompt", *prompt, "absent where there are \"messages\"");
    }
    LONGSPAN_ASSIGN_OR_RETURN(const ToolUse tools, ReadToolUse(request));
    LONGSPAN_ASSIGN_OR_RETURN(call.conversation, ConversationWithTools(request, tools));
    return call;
  }
  if (fields.Find("prompt") == nullptr) return Missing("prompt", "a string, or \"messages\" must be given");
  LONGSPAN_RETURN_IF_ERROR(fields.Read("prompt", &call.prompt.emplace()));
  return call;
}

absl::StatusOr<DetokenizeCall> ParseDetokenize(std::string_view body) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json request, ParseObject(body));
  const RequestFields fields(request, "");
  DetokenizeCall call;
  LONGSPAN_RETURN_IF_ERROR(fields.Read("model", &call.model));
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json* const tokens, fields.FindList("tokens"));
  if (tokens == nullptr) return Missing("tokens", "a list of token ids");
  LONGSPAN_ASSIGN_OR_RETURN(call.tokens, ReadTokenIds("tokens", *tokens));
  return call;
}

absl::StatusOr<ApplyTemplateCall> ParseApplyTemplate(std::string_view body) {
  LONGSPAN_ASSIGN_OR_RETURN(const ordered_json request, ParseObject(body));
  ApplyTemplateCall call;
  LONGSPAN_RETURN_IF_ERROR(RequestFields(request, "").Read("model", &call.model));
  LONGSPAN_ASSIGN_OR_RETURN(const ToolUse tools, ReadToolUse(request));
  LONGSPAN_ASSIGN_OR_RETURN(call.conversation, ConversationWithTools(request, tools));
  return call;
}

}  // namespace longspan
