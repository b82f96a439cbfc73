#include "runtime/api/completion_exchange.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/call_log.h"
#include "runtime/api/error_response.h"
#include "runtime/api/openai_error.h"
#include "runtime/generation/generation.h"

namespace longspan {
namespace {

// How the call's answer is named: after the request, so that logs and answers can be told to belong together.
ResponseContext ContextOf(const CompletionCall& call, const ServedModel& model, const std::string& id) {
  ResponseContext context;
  context.id = absl::StrCat(call.chat ? "chatcmpl-" : "cmpl-", id);
  context.created_s = std::time(nullptr);
  context.model = model.name;
  context.system_fingerprint = model.Fingerprint();
  context.tokenizer = model.tokenizer;
  context.tool_call_format = model.tool_call_format;
  return context;
}

const char* OutcomeOfRefusal(int status) { return status == 429 || status == 503 ? "rejected" : "invalid"; }

void Account(const CallRecord& record, Metrics& metrics) {
  metrics.CountRequest(record.outcome);
  metrics.ObserveEndToEnd(record.e2e_s);
  LogCall(record);
}

}  // namespace

// One choice on its way through a group; its methods are called one at a time.
class CompletionExchange::Choice final : public ResponseListener {
 public:
  Choice(std::shared_ptr<CompletionExchange> exchange, size_t index, const CompletionCall& call)
      : exchange_(std::move(exchange)),
        index_(index),
        ends_(call.ignore_eos ? std::vector<int32_t>() : exchange_->model_.eos_token_ids),
        generation_(OptionsOf(call), exchange_->model_.tokenizer, exchange_->clock_) {}

  void OnStart() override {
    const Clock::Time now = exchange_->clock_.Now();
    exchange_->metrics_.ObserveQueue(ToSeconds(now - exchange_->begin_));
    const std::lock_guard lock(exchange_->mutex_);
    if (!exchange_->start_) exchange_->start_ = now;
    if (exchange_->stream_) exchange_->wake_();
  }

  void OnPromptLogprobs(PositionLogprobs logprobs) override {
    const std::lock_guard lock(exchange_->mutex_);
    const Clock::Time now = exchange_->clock_.Now();
    exchange_->NewsOf(index_, now, now).prompt_logprobs.push_back(std::move(logprobs));
  }

  bool OnToken(const GeneratedToken& token) override {
    const Clock::Time now = exchange_->clock_.Now();
    const std::optional<Clock::Time> last = release_times_.last();
    const Clock::Time release = release_times_.Next(now, exchange_->stream_ ? token.pace : TokenPace());
    if (last) exchange_->metrics_.ObserveGap(ToSeconds(release - *last));
    const bool goes_on = generation_.OnToken(token.id);
    const std::lock_guard lock(exchange_->mutex_);
    News& news = exchange_->NewsOf(index_, now, release);
    // What ends a text is no part of it, as in OpenAI's API.
    if (std::find(ends_.begin(), ends_.end(), token.id) == ends_.end()) {
      news.tokens.push_back(token.id);
      if (token.logprobs) news.logprobs.push_back(*token.logprobs);
    }
    news.text += std::exchange(text_, "");
    ++exchange_->completion_tokens_;
    if (!exchange_->first_token_) {
      exchange_->first_token_ = now;
      exchange_->metrics_.ObserveFirstToken(ToSeconds(now - exchange_->begin_));
    }
    if (exchange_->stream_) exchange_->wake_();
    return goes_on;
  }

  void OnFinish(FinishReason reason) override {
    generation_.OnFinish(reason);
    const std::lock_guard lock(exchange_->mutex_);
    const Clock::Time now = exchange_->clock_.Now();
    News& news = exchange_->NewsOf(index_, now, now);
    news.text += std::exchange(text_, "");
    news.finish = reason;
    exchange_->reason_ = reason;
    exchange_->end_ = now;
    if (exchange_->error_.ok()) exchange_->error_ = exchange_->ErrorOf(reason);
    --exchange_->unfinished_;
    exchange_->wake_();
  }

  void OnError(const absl::Status& error) override { exchange_->Fail(error); }

 private:
  GenerationOptions OptionsOf(const CompletionCall& call) {
    GenerationOptions options;
    options.stop = call.stop;
    options.eos_token_ids = ends_;
    if (call.tools.choice != ToolUse::Choice::kNone)
      options.spelled_tokens = exchange_->model_.tool_call_tokens;
    options.on_text = [this](std::string_view text) { text_ += text; };
    return options;
  }

  const std::shared_ptr<CompletionExchange> exchange_;
  const size_t index_;
  const std::vector<int32_t> ends_;
  std::string text_;  // of the token that is being taken
  Generation generation_;
  ReleaseTimes release_times_;
};

absl::StatusOr<std::shared_ptr<CompletionExchange>> CompletionExchange::Start(
    const CompletionCall& call, std::vector<std::vector<int32_t>> prompts, const ServedModel& model,
    Metrics& metrics, const Clock& clock, const HttpRequest& origin, HttpWake wake) {
  std::shared_ptr<CompletionExchange> exchange(
      new CompletionExchange(call, std::move(prompts), model, metrics, clock, origin, std::move(wake)));
  if (absl::Status status = exchange->Submit(call); !status.ok()) {
    exchange->CancelAll();
    exchange->Conclude(OutcomeOfRefusal(HttpStatus(status)), HttpStatus(status));
    return status;
  }
  return exchange;
}

absl::Status CompletionExchange::CheckRoom(const CompletionCall& call, const ServedModel& model,
                                           Metrics& metrics, const HttpRequest& origin) {
  const absl::Status status = model.coordinator->Admits();
  if (status.ok()) return status;
  const int code = HttpStatus(status);
  Account({.id = origin.id,
           .peer = origin.peer,
           .chat = call.chat,
           .stream = call.stream,
           .status = code,
           .outcome = OutcomeOfRefusal(code)},
          metrics);
  return WithRetryAfter(status, model.coordinator->expected_wait_s());
}

CompletionExchange::CompletionExchange(const CompletionCall& call, std::vector<std::vector<int32_t>> prompts,
                                       const ServedModel& model, Metrics& metrics, const Clock& clock,
                                       const HttpRequest& origin, HttpWake wake)
    : model_(model),
      metrics_(metrics),
      clock_(clock),
      id_(origin.id),
      peer_(origin.peer),
      wake_(std::move(wake)),
      begin_(clock.Now()),
      chat_(call.chat),
      stream_(call.stream),
      echo_(call.echo),
      n_(call.n),
      timeout_s_(call.timeout_s),
      prompts_(std::move(prompts)),
      response_(call, ContextOf(call, model, origin.id)),
      echoed_(prompts_.size() * static_cast<size_t>(call.n)),
      news_(echoed_.size()),
      unfinished_(static_cast<int>(news_.size())) {}

absl::Status CompletionExchange::Submit(const CompletionCall& call) {
  const std::string grammar = AnswerGrammars::TextOf(call);
  int64_t least = 0;
  if (!grammar.empty()) {
    LONGSPAN_ASSIGN_OR_RETURN(least, model_.grammars->LeastTokens(grammar));
  }
  const RequestLimits limits = model_.coordinator->limits();
  std::vector<Request> requests;
  for (size_t i = 0; i < news_.size(); ++i) {
    Request& request = requests.emplace_back();
    request.prompt = prompts_[i / static_cast<size_t>(n_)];
    request.max_tokens = call.max_tokens;
    request.sampling = call.sampling;
    if (request.sampling.seed) *request.sampling.seed += i;
    request.ignore_eos = call.ignore_eos;
    request.prompt_logits = call.echo && (call.logprobs || call.max_tokens == 0);
    request.priority = call.priority;
    if (call.timeout_s) {
      request.deadline = begin_ + FromSeconds(*call.timeout_s);
    }
    const absl::StatusOr<int64_t> max_tokens = CheckRequest(request, limits);
    if (!max_tokens.ok()) return WithParam(max_tokens.status(), call.chat ? "messages" : "prompt");
    if (least > *max_tokens) {
      return InvalidField(
          "max_tokens", absl::StrCat("is too small: the shortest answer that the schema allows takes ", least,
                                     " tokens, and ", *max_tokens, " can be generated"));
    }
    request.grammar = grammar;
    if (call.logprobs) request.logprobs = static_cast<int>(*call.logprobs);
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    auto choice = std::make_shared<Choice>(shared_from_this(), i, call);
    absl::StatusOr<TicketId> ticket = model_.coordinator->Submit(std::move(requests[i]), std::move(choice));
    if (!ticket.ok()) return WithRetryAfter(ticket.status(), model_.coordinator->expected_wait_s());
    tickets_.push_back(*ticket);
  }
  return absl::OkStatus();
}

absl::Status CompletionExchange::ErrorOf(FinishReason reason) const {
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return absl::OkStatus();
    case FinishReason::kCancelled:
      return absl::UnavailableError("the server is shutting down; what was generated so far is incomplete");
    case FinishReason::kDeadline:
      return absl::DeadlineExceededError(
          absl::StrCat("the request was not done within its timeout of ", timeout_s_.value_or(0), " s"));
    case FinishReason::kError:
      break;
  }
  return absl::InternalError(
      absl::StrCat("the model could not go on with this request; the server's log tells why, under ", id_));
}

void CompletionExchange::Fail(const absl::Status& error) {
  const std::lock_guard lock(mutex_);
  if (error_.ok() && unfinished_ > 0) {
    error_ = error.code() == absl::StatusCode::kResourceExhausted
                 ? WithRetryAfter(error, model_.coordinator->expected_wait_s())
                 : error;
  }
  wake_();
}

// Joins what may leave by now in the first piece.
void CompletionExchange::Gather(Clock::Time now, std::deque<News>& news) {
  const auto append = [](auto& to, auto& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  while (news.size() > 1 && news[1].release <= now) {
    News &first = news[0], &second = news[1];
    first.text += second.text;
    append(first.tokens, second.tokens);
    append(first.logprobs, second.logprobs);
    append(first.prompt_logprobs, second.prompt_logprobs);
    first.finish = second.finish;
    news.erase(news.begin() + 1);
  }
}

// The piece that a choice's next token joins: the last one, where that leaves at the same time.
CompletionExchange::News& CompletionExchange::NewsOf(size_t choice, Clock::Time now, Clock::Time release) {
  std::deque<News>& news = news_[choice];
  Gather(now, news);
  if (news.empty() || release > now || news.back().release > now) news.emplace_back().release = release;
  return news.back();
}

// What may leave, by choice.
std::vector<CompletionExchange::News> CompletionExchange::TakeNews(Clock::Time now, Clock::Time* more_at) {
  std::vector<News> taken(news_.size());
  for (size_t i = 0; i < news_.size(); ++i) {
    std::deque<News>& news = news_[i];
    if (news.empty()) continue;
    const bool finished = news.back().finish.has_value();
    Gather(finished ? Clock::Time::max() : now, news);
    // Log-probabilities of a prompt leave together, with the first token.
    if (finished || (news.front().release <= now && !news.front().tokens.empty())) {
      taken[i] = std::move(news.front());
      news.pop_front();
    }
    const auto later =
        std::find_if(news.begin(), news.end(), [now](const News& piece) { return piece.release > now; });
    if (later != news.end()) *more_at = std::min(*more_at, later->release);
  }
  return taken;
}

HttpExchange::Progress CompletionExchange::Next() {
  std::vector<News> news;
  absl::Status error;
  bool started = false, finished = false;
  int64_t completion_tokens = 0;
  Progress progress;
  {
    const std::lock_guard lock(mutex_);
    news = TakeNews(clock_.Now(), &progress.more_at);
    error = error_;
    completion_tokens = completion_tokens_;
    finished = unfinished_ == 0;
    started = start_ || finished;
  }
  progress.ends = finished || !error.ok();
  if (!error.ok()) {
    CancelAll();
    if (begun_) {
      progress.bytes = Render(std::move(news)) + ErrorEvent(error);
    } else {
      progress.whole = std::make_unique<HttpResponse>(ErrorResponse(error));
    }
    const int status = HttpStatus(error);
    Conclude(status == 504   ? "deadline"
             : status == 429 ? "rejected"
             : status < 500  ? "invalid"
                             : "error",
             status);
    return progress;
  }
  std::string bytes;
  if (started && !begun_) {
    begun_ = stream_;
    bytes = response_.Begin();
  }
  bytes += Render(std::move(news));
  if (finished) {
    Usage usage;
    usage.prompt_tokens = prompt_tokens();
    usage.completion_tokens = completion_tokens;
    bytes += response_.End(usage);
    Conclude(std::string(Name(*reason_)), 200);
  }
  if (stream_) {
    progress.bytes = std::move(bytes);
  } else if (finished) {
    progress.whole = std::make_unique<HttpResponse>(HttpResponse{.body = std::move(bytes)});
  }
  return progress;
}

std::string CompletionExchange::Render(std::vector<News> news) {
  std::string bytes;
  for (size_t i = 0; i < news.size(); ++i) {
    News& fresh = news[i];
    const int choice = static_cast<int>(i);
    if (echo_ && !echoed_[i] && (!fresh.tokens.empty() || fresh.finish)) {
      echoed_[i] = true;
      const std::vector<int32_t>& prompt = prompts_[i / static_cast<size_t>(n_)];
      const std::string text = model_.tokenizer == nullptr ? "" : model_.tokenizer->Decode(prompt);
      bytes += response_.OnPrompt(choice, text, prompt, fresh.prompt_logprobs);
    }
    if (!fresh.text.empty() || !fresh.tokens.empty()) {
      bytes += response_.OnText(choice, fresh.text, fresh.tokens, fresh.logprobs);
    }
    if (fresh.finish) bytes += response_.OnFinish(choice, *fresh.finish);
  }
  return bytes;
}

void CompletionExchange::OnDisconnect() {
  CancelAll();
  Conclude("cancelled", 499);
}

void CompletionExchange::CancelAll() {
  for (const TicketId ticket : tickets_) model_.coordinator->Cancel(ticket);
}

void CompletionExchange::Conclude(const std::string& outcome, int status) {
  if (std::exchange(concluded_, true)) return;
  CallRecord record{
      .id = id_, .peer = peer_, .chat = chat_, .stream = stream_, .status = status, .outcome = outcome};
  record.choices = static_cast<int64_t>(echoed_.size());
  record.prompt_tokens = prompt_tokens();
  {
    const std::lock_guard lock(mutex_);
    const auto seconds = [this](Clock::Time time) { return ToSeconds(time - begin_); };
    record.completion_tokens = completion_tokens_;
    if (start_) record.queue_s = seconds(*start_);
    if (first_token_) record.ttft_s = seconds(*first_token_);
    record.e2e_s = seconds(end_.value_or(clock_.Now()));
  }
  Account(record, metrics_);
}

int64_t CompletionExchange::prompt_tokens() const {
  int64_t tokens = 0;
  for (const auto& prompt : prompts_) tokens += static_cast<int64_t>(prompt.size());
  return tokens;
}

}  // namespace longspan
