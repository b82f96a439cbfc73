#include "launcher/generation_request.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/nearest.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"

namespace longspan {
namespace {

using json = nlohmann::ordered_json;  // templates print members in the order in which they came

constexpr int64_t kMaxTokens = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxLogprobs = 20;  // as OpenAI's API

absl::Status Expected(const std::string& what) { return absl::InvalidArgumentError("must be " + what); }

absl::Status ReadReal(const json& value, double* target) {
  if (!value.is_number()) return Expected("a number");
  *target = value.get<double>();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ReadWhole(const json& value, int64_t least, int64_t most = kMaxTokens) {
  // Numbers beyond int64 are unsigned and wrap.
  if (!value.is_number_integer() || value.get<int64_t>() < least || value.get<int64_t>() > most) {
    return Expected(most == kMaxTokens ? absl::StrCat("a whole number of at least ", least)
                                       : absl::StrCat("a whole number from ", least, " to ", most));
  }
  return value.get<int64_t>();
}

absl::Status ReadStop(const json& value, std::vector<std::string>* stop) {
  const json list = value.is_array() ? value : json::array({value});
  stop->clear();
  for (const json& item : list) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty()) {
      return Expected("a text or an array of texts, none of them empty");
    }
    stop->push_back(item.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadLogitBias(const json& value, std::vector<std::pair<int32_t, float>>* biases) {
  if (!value.is_object()) return Expected("an object of token ids and numbers");
  biases->clear();
  for (const auto& [id, bias] : value.items()) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(id, &token) || !bias.is_number())
      return Expected("an object of token ids and numbers");
    biases->emplace_back(token, bias.get<float>());
  }
  return absl::OkStatus();
}

using FieldReader = std::function<absl::Status(const json& value, GenerationRequest* request)>;

FieldReader Real(double SamplingParams::*member) {
  return [member](const json& value, GenerationRequest* request) {
    return ReadReal(value, &(request->sampling.*member));
  };
}

const std::map<std::string, FieldReader>& Fields() {
  static const auto* fields = new std::map<std::string, FieldReader>{
      {"prompt",
       [](const json& value, GenerationRequest* request) {
         if (!value.is_string()) return Expected("a text");
         request->prompt = value.get<std::string>();
         return absl::OkStatus();
       }},
      {"token_ids",
       [](const json& value, GenerationRequest* request) {
         absl::StatusOr<std::vector<int32_t>> ids = ParseTokenIdArray(value.dump(), "the value");
         if (ids.ok()) request->token_ids = *std::move(ids);
         return ids.status();
       }},
      // These become the conversation when the whole line is read.
      {"messages",
       [](const json& value, GenerationRequest*) {
         return value.is_array() ? absl::OkStatus() : Expected("an array of messages");
       }},
      {"tools",
       [](const json& value, GenerationRequest*) {
         return value.is_array() ? absl::OkStatus() : Expected("an array of tools");
       }},
      {"chat_template_kwargs",
       [](const json& value, GenerationRequest*) {
         return value.is_object() ? absl::OkStatus() : Expected("an object");
       }},
      {"max_tokens",
       [](const json& value, GenerationRequest* request) {
         const absl::StatusOr<int64_t> count = ReadWhole(value, 1);
         if (count.ok()) request->max_tokens = *count;
         return count.status();
       }},
      {"temperature", Real(&SamplingParams::temperature)},
      {"top_p", Real(&SamplingParams::top_p)},
      {"min_p", Real(&SamplingParams::min_p)},
      {"repetition_penalty", Real(&SamplingParams::repetition_penalty)},
      {"presence_penalty", Real(&SamplingParams::presence_penalty)},
      {"frequency_penalty", Real(&SamplingParams::frequency_penalty)},
      {"top_k",
       [](const json& value, GenerationRequest* request) {
         const absl::StatusOr<int64_t> count = ReadWhole(value, 0);
         if (count.ok()) request->sampling.top_k = *count;
         return count.status();
       }},
      {"logit_bias",
       [](const json& value, GenerationRequest* request) {
         return ReadLogitBias(value, &request->sampling.logit_bias);
       }},
      {"seed",
       [](const json& value, GenerationRequest* request) {
         if (!value.is_number_unsigned()) return Expected("a whole number from 0 to 2^64 - 1");
         request->sampling.seed = value.get<uint64_t>();
         return absl::OkStatus();
       }},
      {"stop", [](const json& value, GenerationRequest* request) { return ReadStop(value, &request->stop); }},
      {"logprobs",
       [](const json& value, GenerationRequest* request) {
         const absl::StatusOr<int64_t> count = ReadWhole(value, 0, kMaxLogprobs);
         if (count.ok()) request->logprobs = *count;
         return count.status();
       }},
      {"ignore_eos",
       [](const json& value, GenerationRequest* request) {
         if (!value.is_boolean()) return Expected("true or false");
         request->ignore_eos = value.get<bool>();
         return absl::OkStatus();
       }},
  };
  return *fields;
}

absl::Status UnknownField(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [field, reader] : Fields()) names.push_back(field);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown field; the nearest is \"", std::string(Nearest(name, names)), "\""));
}

absl::StatusOr<GenerationRequest> ParseRequestLine(std::string_view line, const std::string& origin,
                                                   const GenerationRequest& defaults) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError(absl::StrCat(origin, ": is not a JSON object"));
  GenerationRequest request = defaults;
  for (const auto& [name, value] : object.items()) {
    const auto reader = Fields().find(name);
    const absl::Status status =
        reader == Fields().end() ? UnknownField(name) : reader->second(value, &request);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(origin, ": \"", name, "\": ", std::string(status.message())));
    }
  }
  if (object.contains("prompt") + object.contains("messages") + object.contains("token_ids") != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": needs one of \"prompt\", \"messages\" and \"token_ids\""));
  }
  if (object.contains("messages")) {
    json conversation = object.value("chat_template_kwargs", json::object());
    for (const char* name : {"messages", "tools"}) {
      if (object.contains(name)) conversation[name] = object[name];
    }
    request.conversation = conversation.dump();
  } else {
    for (const char* name : {"tools", "chat_template_kwargs"}) {
      if (!object.contains(name)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(origin, ": \"", name, "\" needs \"messages\" beside it"));
    }
  }
  return request;
}

}  // namespace

void AskAsUser(GenerationRequest* request) {
  request->conversation = json{{"messages", {{{"role", "user"}, {"content", *request->prompt}}}}}.dump();
  request->prompt.reset();
}

absl::StatusOr<std::pair<int32_t, float>> ParseLogitBias(std::string_view text) {
  const size_t colon = text.find(':');
  int32_t token = 0;
  float bias = 0;
  if (colon == std::string_view::npos || !absl::SimpleAtoi(std::string(text.substr(0, colon)), &token) ||
      !absl::SimpleAtof(std::string(text.substr(colon + 1)), &bias)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", std::string(text), "' is not a token id and what to add to its logit, as 42:-1.5"));
  }
  return std::pair(token, bias);
}

void AddSamplingOptions(CLI::App& app, GenerationRequest* request) {
  SamplingParams& sampling = request->sampling;
  const std::vector<CLI::Option*> added = {
      AddOption(app, "--max-tokens", "N", "tokens to generate at most (--default-max-tokens, else 128)",
                Into(&request->max_tokens, WholeNumber(1, kMaxTokens))),
      AddOption(app, "--temperature", "X", "0 takes the likeliest token (0)",
                Into(&sampling.temperature, RealNumber())),
      AddOption(app, "--top-k", "N", "only the N likeliest tokens; 0 for all (0)",
                Into(&sampling.top_k, WholeNumber(0, kMaxTokens))),
      AddOption(app, "--top-p", "P", "only the likeliest tokens that together have probability P (1)",
                Into(&sampling.top_p, RealNumber())),
      AddOption(app, "--min-p", "P", "only tokens at least P times as likely as the likeliest (0)",
                Into(&sampling.min_p, RealNumber())),
      AddOption(app, "--repetition-penalty", "X",
                "makes tokens of prompt and output less likely, above 1 (1)",
                Into(&sampling.repetition_penalty, RealNumber())),
      AddOption(app, "--presence-penalty", "X", "taken once from the logit of each token of the output (0)",
                Into(&sampling.presence_penalty, RealNumber())),
      AddOption(app, "--frequency-penalty", "X", "taken for each occurrence of a token in the output (0)",
                Into(&sampling.frequency_penalty, RealNumber())),
      AddListOption(app, "--logit-bias", "ID:BIAS", "added to a token's logit; may be given several times",
                    [biases = &sampling.logit_bias](std::string_view text) {
                      absl::StatusOr<std::pair<int32_t, float>> bias = ParseLogitBias(text);
                      if (bias.ok()) biases->push_back(*bias);
                      return bias.status();
                    }),
      AddOption(app, "--seed", "N", "of the random numbers (a new one each time)",
                Into(&sampling.seed, UnsignedNumber())),
      AddListOption(app, "--stop", "TEXT", "ends before this text; may be given several times",
                    [stop = &request->stop](std::string_view text) {
                      absl::StatusOr<std::string> value = NonEmptyText()(text);
                      if (value.ok()) stop->push_back(*std::move(value));
                      return value.status();
                    }),
      AddFlag(app, "--ignore-eos", "goes on after an end-of-sequence token", &request->ignore_eos),
      AddOption(app, "--logprobs", "N",
                "with --json: the log-probability of each token, and the N likeliest tokens in its place",
                Into(&request->logprobs, WholeNumber(0, kMaxLogprobs))),
  };
  SetTitle(added, "Generation");
}

absl::StatusOr<std::vector<GenerationRequest>> ParseRequestLines(std::string_view text,
                                                                 const std::string& origin,
                                                                 const GenerationRequest& defaults) {
  std::vector<GenerationRequest> requests;
  int64_t number = 0;
  for (const std::string_view line : SplitLines(text)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    LONGSPAN_ASSIGN_OR_RETURN(requests.emplace_back(),
                              ParseRequestLine(line, absl::StrCat(origin, ":", number), defaults));
  }
  if (requests.empty()) return absl::InvalidArgumentError(absl::StrCat(origin, ": holds no requests"));
  return requests;
}

absl::StatusOr<Request> ToEngineRequest(const GenerationRequest& request, const Tokenizer* tokenizer,
                                        const ChatTemplate* chat, const std::tm& now) {
  Request result;
  result.max_tokens = request.max_tokens;
  result.sampling = request.sampling;
  result.ignore_eos = request.ignore_eos;
  if (request.prompt) {
    if (tokenizer == nullptr) {
      return absl::FailedPreconditionError("this model brings no tokenizer; give the prompt as token ids");
    }
    LONGSPAN_ASSIGN_OR_RETURN(result.prompt, tokenizer->Encode(*request.prompt, EncodeOptions()));
  } else if (request.conversation) {
    if (chat == nullptr) {
      return absl::FailedPreconditionError("this model brings no tokenizer; give the prompt as token ids");
    }
    LONGSPAN_ASSIGN_OR_RETURN(const std::string text, chat->Render(json::parse(*request.conversation), now));
    LONGSPAN_ASSIGN_OR_RETURN(result.prompt, chat->Encode(text));
  } else {
    result.prompt = request.token_ids;
  }
  return result;
}

}  // namespace longspan
