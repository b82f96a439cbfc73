#include "launcher/load/server_probe.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "launcher/load/answer_reader.h"
#include "launcher/load/http_fetch.h"

namespace longspan::load {
namespace {

using nlohmann::json;

constexpr int64_t kMinPool = 16;
constexpr int64_t kFewWords = 16, kManyWords = 80;
constexpr std::chrono::seconds kPatience{60};

json Parse(const std::string& body) { return json::parse(body, nullptr, /*allow_exceptions=*/false); }

class Prober {
 public:
  Prober(HttpClient& client, const ProbeOptions& options) : client_(client), options_(options) {}

  absl::StatusOr<ServerInfo> Probe() {
    std::string model = options_.model, warning;
    LONGSPAN_RETURN_IF_ERROR(ChooseModel(&model, &warning));
    if (options_.prompts == PromptKind::kText || options_.endpoint == Endpoint::kChat) {
      LONGSPAN_ASSIGN_OR_RETURN(RequestFormat format, WithText(model, &warning));
      return ServerInfo{model, warning, std::move(format)};
    }
    absl::StatusOr<RequestFormat> ids = WithIds(model);
    if (!ids.ok() && options_.prompts == PromptKind::kIds) return ids.status();
    if (ids.ok()) return ServerInfo{model, warning, *std::move(ids)};
    LONGSPAN_ASSIGN_OR_RETURN(RequestFormat format, WithText(model, &warning));
    return ServerInfo{model, warning, std::move(format)};
  }

 private:
  std::string Name(std::string_view path) const {
    return absl::StrCat(options_.url.ToString(), std::string(path));
  }

  // Also answers that are errors, but for those of a server that is busy or not ready.
  absl::StatusOr<HttpAnswer> Ask(const HttpRequest& request) {
    for (;;) {
      absl::StatusOr<HttpAnswer> answer = Fetch(client_, request);
      if (!answer.ok()) {
        const std::string message(answer.status().message());
        return absl::UnavailableError(
            absl::StrCat("cannot reach ", Name(""), ": ", message, "; is the server running there?"));
      }
      const bool busy = answer->head.status == 429 || answer->head.status == 503;
      if (!busy || std::chrono::steady_clock::now() > give_up_) return answer;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }

  absl::Status Refused(const HttpRequest& request, const HttpAnswer& answer) const {
    const bool unauthorized = answer.head.status == 401 || answer.head.status == 403;
    return absl::UnavailableError(absl::StrCat(
        request.method, " ", Name(request.path), " was answered with HTTP ", answer.head.status, ": ",
        ErrorMessage(answer.body), unauthorized ? "; give the key with --api-key-file" : ""));
  }

  absl::Status ChooseModel(std::string* model, std::string* warning) {
    const HttpRequest request{.method = "GET", .path = "/v1/models", .body = ""};
    LONGSPAN_ASSIGN_OR_RETURN(const HttpAnswer answer, Ask(request));
    if (answer.head.status == 404 || answer.head.status == 405) return absl::OkStatus();
    if (answer.head.status != 200) return Refused(request, answer);
    const json body = Parse(answer.body);
    std::vector<std::string> names;
    if (const auto data = body.find("data"); body.is_object() && data != body.end() && data->is_array()) {
      for (const json& entry : *data) {
        if (!entry.is_object()) continue;
        if (const auto id = entry.find("id"); id != entry.end() && id->is_string()) names.push_back(*id);
      }
    }
    if (names.empty()) return absl::OkStatus();
    if (model->empty()) {
      *model = names.front();
    } else if (std::find(names.begin(), names.end(), *model) == names.end()) {
      *warning = absl::StrCat(Name(""), " lists no model '", *model, "' but ", absl::StrJoin(names, ", "));
    }
    return absl::OkStatus();
  }

  // The usage of an answer to a probe: prompt tokens, if the server counts.
  absl::StatusOr<std::optional<int64_t>> PromptTokens(const RequestFormat& format,
                                                      const std::string& prompt) {
    const HttpRequest request{.path = format.Path(), .body = format.ProbeBody(prompt)};
    LONGSPAN_ASSIGN_OR_RETURN(const HttpAnswer answer, Ask(request));
    if (answer.head.status != 200) return Refused(request, answer);
    const json body = Parse(answer.body);
    if (!body.is_object()) {
      return absl::UnavailableError(absl::StrCat(
          "POST ", Name(request.path), " was answered with what is no JSON: ", ErrorMessage(answer.body)));
    }
    const json usage = body.value("usage", json());
    if (!usage.is_object() || !usage.value("prompt_tokens", json()).is_number_integer()) return std::nullopt;
    return usage["prompt_tokens"].get<int64_t>();
  }

  // Different ids of ordinary tokens.
  absl::StatusOr<std::vector<int32_t>> TokenizeWords(const std::string& model) {
    const std::string text = absl::StrJoin(CommonWords(), " ");
    // Some servers call the text "prompt", some "content".
    json body = {{"prompt", text}, {"content", text}, {"add_special_tokens", false}, {"add_special", false}};
    if (!model.empty()) body["model"] = model;
    const HttpRequest request{.path = "/tokenize", .body = body.dump()};
    LONGSPAN_ASSIGN_OR_RETURN(const HttpAnswer answer, Ask(request));
    if (answer.head.status != 200) return Refused(request, answer);
    const json object = Parse(answer.body);
    std::vector<int32_t> ids;
    if (object.is_object()) {
      for (const json& id : object.value("tokens", json::array())) {
        if (id.is_number_integer()) ids.push_back(id.get<int32_t>());
      }
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (std::ssize(ids) < kMinPool) {
      return absl::UnavailableError(absl::StrCat("POST ", Name(request.path), " gave no token ids"));
    }
    return ids;
  }

  absl::StatusOr<RequestFormat> WithIds(const std::string& model) {
    LONGSPAN_ASSIGN_OR_RETURN(std::vector<int32_t> pool, TokenizeWords(model));
    LONGSPAN_ASSIGN_OR_RETURN(RequestFormat format,
                              RequestFormat::Create(options_.endpoint, model, options_.extra_body,
                                                    Prompts::OfIds(std::move(pool), options_.seed)));
    PlannedRequest request;
    request.input_tokens = kMinPool;
    LONGSPAN_ASSIGN_OR_RETURN(const std::optional<int64_t> counted,
                              PromptTokens(format, format.prompts().Json(request, -1)));
    // A server may add a token that begins the text; one that takes the digits for text adds many.
    if (counted && (*counted < kMinPool || *counted > kMinPool + 2)) {
      return absl::UnavailableError(absl::StrCat(Name(format.Path()), " took ", kMinPool,
                                                 " token ids for a prompt of ", *counted, " tokens"));
    }
    return format;
  }

  absl::StatusOr<RequestFormat> WithText(const std::string& model, std::string* warning) {
    LONGSPAN_ASSIGN_OR_RETURN(const RequestFormat plain,
                              RequestFormat::Create(options_.endpoint, model, options_.extra_body,
                                                    Prompts::OfText({}, options_.seed)));
    std::optional<int64_t> counts[2];
    for (int i = 0; i < 2; ++i) {
      const std::string words = SomeWords(i == 0 ? kFewWords : kManyWords, options_.seed);
      LONGSPAN_ASSIGN_OR_RETURN(counts[i], PromptTokens(plain, absl::StrCat("\"", words, "\"")));
    }
    WordTokens measured;
    if (counts[0] && counts[1] && *counts[1] > *counts[0]) {
      measured.per_word =
          static_cast<double>(*counts[1] - *counts[0]) / static_cast<double>(kManyWords - kFewWords);
      measured.fixed = static_cast<double>(*counts[0]) - measured.per_word * static_cast<double>(kFewWords);
    } else {
      *warning = absl::StrCat(Name(""), " does not count the tokens of prompts: a word is taken for a token");
    }
    return RequestFormat::Create(options_.endpoint, model, options_.extra_body,
                                 Prompts::OfText(measured, options_.seed));
  }

  HttpClient& client_;
  const ProbeOptions& options_;
  const Time give_up_ = std::chrono::steady_clock::now() + kPatience;
};

}  // namespace

absl::StatusOr<ServerInfo> ProbeServer(HttpClient& client, const ProbeOptions& options) {
  return Prober(client, options).Probe();
}

}  // namespace longspan::load
