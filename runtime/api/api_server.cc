#include "runtime/api/api_server.h"

#include <atomic>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "runtime/api/cluster_status.h"
#include "runtime/api/completion_exchange.h"
#include "runtime/api/error_response.h"
#include "runtime/api/openai_bodies.h"
#include "runtime/api/openai_error.h"
#include "runtime/api/openai_request.h"
#include "runtime/api/openai_response.h"
#include "runtime/api/page.h"
#include "runtime/api/request_trace.h"
#include "runtime/api/tool_call_prompt.h"

namespace longspan {
namespace {

constexpr char kTracePath[] = "/v1/requests/ID/trace";
constexpr size_t kMostAsked = 4096;
constexpr std::chrono::minutes kLogWrongKeysAfter{1};

enum class Phase : uint8_t { kLoading, kReady, kDraining, kFailed };

}  // namespace

class ApiServer::State {
 public:
  State(ApiServerOptions options, const Clock& clock)
      : options_(std::move(options)), clock_(clock), created_s_(std::time(nullptr)) {}

  absl::Status Listen() {
    LONGSPAN_ASSIGN_OR_RETURN(
        http_, HttpServer::Create(
                   options_.http,
                   [this](HttpRequest request, HttpWake wake) {
                     return Handle(std::move(request), std::move(wake));
                   },
                   [](int status, const std::string& message) {
                     return ErrorBody(WithHttpStatus(absl::InvalidArgumentError(message), status));
                   }));
    return absl::OkStatus();
  }

  HttpServer& http() { return *http_; }

  void SetProgress(double fraction) { progress_ = fraction; }
  void SetReady(ServedModel model) {
    model.coordinator->ObserveHandoffs(
        [this](const KvArrival& arrival) { metrics_.ObserveHandoff(arrival); });
    const std::lock_guard lock(mutex_);
    model_ = std::make_unique<const ServedModel>(std::move(model));
    if (phase_ == Phase::kLoading) phase_ = Phase::kReady;
  }
  void SetDraining() {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kFailed) phase_ = Phase::kDraining;
  }
  void Fail(const absl::Status& reason) {
    std::vector<std::shared_ptr<CompletionExchange>> open;
    {
      const std::lock_guard lock(mutex_);
      if (phase_ == Phase::kFailed) return;
      phase_ = Phase::kFailed;
      failure_ = reason;
      for (const auto& weak : exchanges_) {
        if (auto exchange = weak.lock()) open.push_back(std::move(exchange));
      }
    }
    for (const auto& exchange : open) exchange->Fail(reason);
  }

 private:
  using Route = absl::StatusOr<HttpAnswer> (State::*)(HttpRequest& request, const HttpWake& wake);
  struct Endpoint {
    std::string method;
    Route route;
    bool open = false;  // without a key
  };

  static const std::map<std::string, Endpoint>& Endpoints();

  HttpAnswer Handle(HttpRequest request, HttpWake wake) {
    absl::StatusOr<HttpAnswer> answer = Dispatch(request, wake);
    if (answer.ok()) return *std::move(answer);
    HttpResponse response = ErrorResponse(answer.status());
    if (response.status == 405) response.headers.emplace_back("allow", AllowedMethod(request.path));
    return {std::move(response), nullptr};
  }

  static std::string AllowedMethod(const std::string& path) {
    const auto it = Endpoints().find(path);
    return it == Endpoints().end() ? "GET" : it->second.method;
  }

  absl::StatusOr<HttpAnswer> Dispatch(HttpRequest& request, const HttpWake& wake) {
    static constexpr std::string_view kModel = "/v1/models/";
    const bool one_model = request.path.starts_with(kModel) && request.path.size() > kModel.size();
    const std::optional<std::string> traced = TracedRequest(request.path);
    const auto it = Endpoints().find(one_model ? "/v1/models" : traced ? kTracePath : request.path);
    if (it == Endpoints().end()) {
      return absl::NotFoundError(absl::StrCat(
          "there is no ", request.path, " here; there are ",
          absl::StrJoin(Endpoints(), ", ",
                        [](std::string* out, const auto& entry) { absl::StrAppend(out, entry.first); })));
    }
    const bool head = request.method == "HEAD" && it->second.method == "GET";
    if (request.method != it->second.method && !head) {
      return WithHttpStatus(absl::InvalidArgumentError(absl::StrCat(
                                request.path, " takes ", it->second.method, ", not ", request.method)),
                            405);
    }
    if (!it->second.open && options_.keys && !options_.keys->Allows(request.authorization)) {
      if (!request.authorization.empty()) LogWrongKey(request);
      return WithCode(absl::UnauthenticatedError(
                          request.authorization.empty()
                              ? "this server asks for an API key: send the header Authorization: Bearer KEY"
                              : "this API key is not one of the server's"),
                      "invalid_api_key");
    }
    if (one_model) return OneModel(request.path.substr(kModel.size()));
    if (traced) return Trace(*traced);
    return (this->*it->second.route)(request, wake);
  }

  // Whoever guesses shall not fill the log.
  void LogWrongKey(const HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    const Clock::Time now = clock_.Now();
    if (wrong_key_logged_ && now - *wrong_key_logged_ < kLogWrongKeysAfter) return;
    wrong_key_logged_ = now;
    spdlog::warn(
        "a call of {} from {} brings a wrong API key and is refused; others within a minute are not logged",
        request.path, request.peer);
  }

  // The id in /v1/requests/ID/trace.
  static std::optional<std::string> TracedRequest(const std::string& path) {
    static constexpr std::string_view kBegin = "/v1/requests/", kEnd = "/trace";
    if (!path.starts_with(kBegin) || !path.ends_with(kEnd)) return std::nullopt;
    if (path.size() <= kBegin.size() + kEnd.size()) return std::nullopt;
    return path.substr(kBegin.size(), path.size() - kBegin.size() - kEnd.size());
  }
  absl::StatusOr<HttpAnswer> Trace(const std::string& id) {
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Loaded());
    std::vector<TicketId> tickets;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [known, its_tickets] : asked_) {
        if (known == id) tickets = its_tickets;  // the last of that name
      }
    }
    std::string body = RequestTraceBody(*model->coordinator, tickets, clock_.Now());
    if (!body.empty()) return Json(std::move(body));
    return absl::NotFoundError(absl::StrCat(
        "no request '", id, "' is known, or it is too long ago; its id is the x-request-id of its answer"));
  }
  absl::StatusOr<HttpAnswer> TraceOfNone(HttpRequest&, const HttpWake&) {
    return absl::NotFoundError("a trace is that of a request: /v1/requests/ID/trace");
  }

  // The model, for calls that need it now.
  absl::StatusOr<const ServedModel*> Ready() {
    const std::lock_guard lock(mutex_);
    switch (phase_) {
      case Phase::kReady:
        return model_.get();
      case Phase::kLoading:
        return WithRetryAfter(
            absl::UnavailableError(
                absl::StrCat("the model is being loaded, ", static_cast<int>(100 * progress_), " % so far")),
            2);
      case Phase::kDraining:
        return WithRetryAfter(absl::UnavailableError("the server is shutting down"), 5);
      case Phase::kFailed:
        break;
    }
    return absl::UnavailableError(absl::StrCat("the server has failed: ", std::string(failure_.message())));
  }

  absl::Status CheckModel(const std::string& asked) const {
    if (asked.empty() || asked == options_.model_name) return absl::OkStatus();
    return WithParam(
        WithCode(absl::NotFoundError(absl::StrCat("the model '", asked, "' is not served here; '",
                                                  options_.model_name, "' is")),
                 "model_not_found"),
        "model");
  }

  static absl::Status NeedsTokenizer(const ServedModel& model) {
    if (model.tokenizer != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "this model brings no tokenizer: use /v1/completions with prompts of token ids");
  }

  absl::StatusOr<std::vector<int32_t>> EncodeConversation(const ServedModel& model,
                                                          const nlohmann::ordered_json& conversation) const {
    LONGSPAN_ASSIGN_OR_RETURN(const std::string text, RenderConversation(model, conversation));
    return model.chat->Encode(text);
  }
  absl::StatusOr<std::string> RenderConversation(const ServedModel& model,
                                                 const nlohmann::ordered_json& conversation) const {
    LONGSPAN_RETURN_IF_ERROR(NeedsTokenizer(model));
    const std::time_t time = std::time(nullptr);
    std::tm now{};
    localtime_r(&time, &now);
    const bool tell_tools = !model.template_knows_tools && conversation.contains("tools");
    absl::StatusOr<std::string> text =
        model.chat->Render(tell_tools ? TellTools(conversation) : conversation, now);
    if (!text.ok()) return WithParam(text.status(), "messages");
    return text;
  }

  absl::StatusOr<HttpAnswer> Generate(absl::StatusOr<CompletionCall> parsed, const HttpRequest& request,
                                      const HttpWake& wake) {
    if (!parsed.ok()) {
      metrics_.CountRequest("invalid");
      return parsed.status();
    }
    const CompletionCall& call = *parsed;
    LONGSPAN_RETURN_IF_ERROR(CheckModel(call.model));
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Ready());
    LONGSPAN_RETURN_IF_ERROR(CompletionExchange::CheckRoom(call, *model, metrics_, request));
    std::vector<std::vector<int32_t>> prompts;
    if (call.chat) {
      LONGSPAN_ASSIGN_OR_RETURN(prompts.emplace_back(), EncodeConversation(*model, call.conversation));
    }
    for (const Prompt& prompt : call.prompts) {
      if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
        prompts.push_back(*ids);
        continue;
      }
      LONGSPAN_RETURN_IF_ERROR(NeedsTokenizer(*model));
      LONGSPAN_ASSIGN_OR_RETURN(prompts.emplace_back(),
                                model->tokenizer->Encode(std::get<std::string>(prompt), EncodeOptions()));
    }
    LONGSPAN_ASSIGN_OR_RETURN(
        std::shared_ptr<CompletionExchange> exchange,
        CompletionExchange::Start(call, std::move(prompts), *model, metrics_, clock_, request, wake));
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(exchanges_, [](const auto& weak) { return weak.expired(); });
      exchanges_.push_back(exchange);
      asked_.emplace_back(request.id, exchange->tickets());
      if (asked_.size() > kMostAsked) asked_.pop_front();
      if (phase_ == Phase::kFailed) exchange->Fail(failure_);
    }
    return HttpAnswer{{}, std::move(exchange)};
  }

  absl::StatusOr<HttpAnswer> ChatCompletions(HttpRequest& request, const HttpWake& wake) {
    return Generate(ParseChatCompletion(request.body), request, wake);
  }
  absl::StatusOr<HttpAnswer> Completions(HttpRequest& request, const HttpWake& wake) {
    return Generate(ParseCompletion(request.body), request, wake);
  }

  static absl::StatusOr<HttpAnswer> Json(std::string body) {
    return HttpAnswer{HttpResponse{.body = std::move(body)}, nullptr};
  }

  absl::StatusOr<HttpAnswer> Models(HttpRequest&, const HttpWake&) {
    const ModelCard card = Card();
    return Json(ModelListBody({&card, 1}));
  }
  absl::StatusOr<HttpAnswer> OneModel(const std::string& name) {
    LONGSPAN_RETURN_IF_ERROR(CheckModel(name));
    return Json(ModelBody(Card()));
  }
  ModelCard Card() {
    const std::lock_guard lock(mutex_);
    return {options_.model_name, created_s_,
            model_ == nullptr ? 0 : model_->coordinator->limits().max_context};
  }

  absl::StatusOr<HttpAnswer> Tokenize(HttpRequest& request, const HttpWake&) {
    LONGSPAN_ASSIGN_OR_RETURN(const TokenizeCall call, ParseTokenize(request.body));
    LONGSPAN_RETURN_IF_ERROR(CheckModel(call.model));
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Ready());
    LONGSPAN_RETURN_IF_ERROR(NeedsTokenizer(*model));
    absl::StatusOr<std::vector<int32_t>> ids =
        call.prompt
            ? model->tokenizer->Encode(*call.prompt, EncodeOptions{.add_special = call.add_special_tokens})
            : EncodeConversation(*model, call.conversation);
    LONGSPAN_RETURN_IF_ERROR(ids.status());
    return Json(TokenizeBody(*ids, model->coordinator->limits().max_context,
                             call.return_token_strs ? model->tokenizer : nullptr));
  }
  absl::StatusOr<HttpAnswer> Detokenize(HttpRequest& request, const HttpWake&) {
    LONGSPAN_ASSIGN_OR_RETURN(const DetokenizeCall call, ParseDetokenize(request.body));
    LONGSPAN_RETURN_IF_ERROR(CheckModel(call.model));
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Ready());
    LONGSPAN_RETURN_IF_ERROR(NeedsTokenizer(*model));
    for (const int32_t id : call.tokens) {
      if (id < model->tokenizer->vocab_size()) continue;
      return InvalidField("tokens", absl::StrCat(id, " is not in the vocabulary of ",
                                                 model->tokenizer->vocab_size(), " tokens"));
    }
    return Json(PromptBody(model->tokenizer->Decode(call.tokens)));
  }
  absl::StatusOr<HttpAnswer> ApplyTemplate(HttpRequest& request, const HttpWake&) {
    LONGSPAN_ASSIGN_OR_RETURN(const ApplyTemplateCall call, ParseApplyTemplate(request.body));
    LONGSPAN_RETURN_IF_ERROR(CheckModel(call.model));
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Ready());
    LONGSPAN_ASSIGN_OR_RETURN(const std::string prompt, RenderConversation(*model, call.conversation));
    return Json(PromptBody(prompt));
  }

  absl::StatusOr<HttpAnswer> Health(HttpRequest&, const HttpWake&) {
    const std::lock_guard lock(mutex_);
    static constexpr const char* kNames[] = {"loading", "ready", "draining", "failed"};
    nlohmann::ordered_json body = {{"status", kNames[static_cast<size_t>(phase_)]},
                                   {"model", options_.model_name}};
    bool ready = phase_ == Phase::kReady;
    if (phase_ == Phase::kLoading) body["progress"] = progress_.load();
    if (phase_ == Phase::kFailed) body["reason"] = std::string(failure_.message());
    if (ready && model_->coordinator->limits().store_tokens == 0) {
      ready = false;
      body["status"] = "waiting";
      body["reason"] = "no group that generates has joined";
    }
    return HttpAnswer{
        HttpResponse{.status = ready ? 200 : 503,
                     .body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)},
        nullptr};
  }
  absl::StatusOr<HttpAnswer> MetricsText(HttpRequest&, const HttpWake&) {
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Loaded());
    return HttpAnswer{HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                   .body = metrics_.Render(model->coordinator->view())},
                      nullptr};
  }
  absl::StatusOr<HttpAnswer> Cluster(HttpRequest&, const HttpWake&) {
    LONGSPAN_ASSIGN_OR_RETURN(const ServedModel* model, Loaded());
    return Json(ClusterStatusBody(*model));
  }
  absl::StatusOr<HttpAnswer> Page(HttpRequest&, const HttpWake&) {
    return HttpAnswer{
        HttpResponse{.content_type = "text/html; charset=utf-8", .body = std::string(PageText())}, nullptr};
  }
  // Also while it drains or has failed.
  absl::StatusOr<const ServedModel*> Loaded() {
    const std::lock_guard lock(mutex_);
    if (model_ != nullptr) return model_.get();
    return WithRetryAfter(absl::UnavailableError("the model is being loaded"), 2);
  }

  const ApiServerOptions options_;
  const Clock& clock_;
  const int64_t created_s_;
  Metrics metrics_;
  std::atomic<double> progress_ = 0;

  std::mutex mutex_;  // of the following
  Phase phase_ = Phase::kLoading;
  absl::Status failure_;
  std::unique_ptr<const ServedModel> model_;
  std::vector<std::weak_ptr<CompletionExchange>> exchanges_;
  std::optional<Clock::Time> wrong_key_logged_;
  std::deque<std::pair<std::string, std::vector<TicketId>>> asked_;  // the last calls, for their traces

  std::unique_ptr<HttpServer> http_;  // ends before what its handlers use
};

const std::map<std::string, ApiServer::State::Endpoint>& ApiServer::State::Endpoints() {
  static const auto* endpoints = new std::map<std::string, Endpoint>{
      {"/", {"GET", &State::Page, true}},
      {"/health", {"GET", &State::Health, true}},
      {"/metrics", {"GET", &State::MetricsText}},
      {"/v1/models", {"GET", &State::Models}},
      {"/v1/cluster", {"GET", &State::Cluster}},
      {kTracePath, {"GET", &State::TraceOfNone}},
      {"/v1/chat/completions", {"POST", &State::ChatCompletions}},
      {"/v1/completions", {"POST", &State::Completions}},
      {"/tokenize", {"POST", &State::Tokenize}},
      {"/detokenize", {"POST", &State::Detokenize}},
      {"/apply-template", {"POST", &State::ApplyTemplate}},
  };
  return *endpoints;
}

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Create(ApiServerOptions options, const Clock& clock) {
  auto state = std::make_unique<State>(std::move(options), clock);
  LONGSPAN_RETURN_IF_ERROR(state->Listen());
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

ApiServer::ApiServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ApiServer::~ApiServer() = default;

int ApiServer::port() const { return state_->http().port(); }
void ApiServer::SetProgress(double fraction) { state_->SetProgress(fraction); }
void ApiServer::SetReady(ServedModel model) { state_->SetReady(std::move(model)); }
void ApiServer::SetDraining() { state_->SetDraining(); }
void ApiServer::Fail(const absl::Status& reason) { state_->Fail(reason); }
void ApiServer::Finish(std::chrono::milliseconds timeout) { state_->http().Finish(timeout); }

}  // namespace longspan
