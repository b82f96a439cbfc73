#include "launcher/load/request_format.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace longspan::load {
namespace {

using nlohmann::json;

// The fields of an object, without the braces.
std::string Fields(json object, const json& extra) {
  object.merge_patch(extra);
  const std::string text = object.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

std::string Whole(const std::string& fields, Endpoint endpoint, const std::string& prompt,
                  const std::string& max_tokens) {
  const std::string content =
      endpoint == Endpoint::kChat
          ? absl::StrCat("\"messages\":[{\"role\":\"user\",\"content\":", prompt, "}]")
          : absl::StrCat("\"prompt\":", prompt);
  return absl::StrCat("{", fields, fields.empty() ? "" : ",", max_tokens, content, "}");
}

}  // namespace

absl::StatusOr<RequestFormat> RequestFormat::Create(Endpoint endpoint, const std::string& model,
                                                    const std::string& extra, Prompts prompts) {
  const json patch = extra.empty() ? json::object() : json::parse(extra, nullptr, /*allow_exceptions=*/false);
  if (!patch.is_object())
    return absl::InvalidArgumentError(absl::StrCat("'", extra, "' is not a JSON object"));
  for (const char* name : {"prompt", "messages", "max_tokens"}) {
    if (patch.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is what the load decides on"));
    }
  }
  RequestFormat format(std::move(prompts));
  format.endpoint_ = endpoint;
  json object = {{"temperature", 0}};
  if (!model.empty()) object["model"] = model;
  format.probe_fields_ = Fields(object, patch);
  object["stream"] = true;
  object["stream_options"] = {{"include_usage", true}};
  object["ignore_eos"] = true;
  format.fields_ = Fields(object, patch);
  return format;
}

std::string RequestFormat::Path() const {
  return endpoint_ == Endpoint::kChat ? "/v1/chat/completions" : "/v1/completions";
}

std::string RequestFormat::Body(const PlannedRequest& request, int64_t index) const {
  return Whole(fields_, endpoint_, prompts_.Json(request, index),
               absl::StrCat("\"max_tokens\":", request.output_tokens, ","));
}

std::string RequestFormat::ProbeBody(const std::string& prompt) const {
  return Whole(probe_fields_, endpoint_, prompt, "\"max_tokens\":1,");
}

}  // namespace longspan::load
