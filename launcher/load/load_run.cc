#include "launcher/load/load_run.h"

#include <algorithm>
#include <utility>

#include "comm/clock.h"
#include "launcher/load/answer_reader.h"

namespace longspan::load {
namespace {

constexpr int kTooManyRequests = 429, kServiceUnavailable = 503;
constexpr double kRetryAfterUnlessToldS = 1;
// Of a user in a closed loop, lest a server that refuses everything is asked without end.
constexpr double kPauseAfterFailureS = 0.1;

// At most 30 years.
Clock::Duration Duration(double seconds) { return FromSeconds(std::min(seconds, 1e9)); }

}  // namespace

// A request, through all its tries.
struct LoadRun::Attempt final : HttpListener, std::enable_shared_from_this<LoadRun::Attempt> {
  Attempt(std::shared_ptr<LoadRun> run, Prepared prepared)
      : run(std::move(run)), record(std::move(prepared.record)), body(std::move(prepared.body)) {}

  void OnHead(const HttpHead& head, Time) override {
    retry_after_s = head.retry_after_s;
    reader->OnHead(head);
  }
  void OnBody(std::string_view piece, Time now) override { reader->OnBody(piece, run->Seconds(now)); }
  void OnEnd(const absl::Status& status, Time now) override {
    const double now_s = run->Seconds(now);
    reader->OnEnd(status, now_s);
    run->OnEnd(shared_from_this(), retry_after_s, now_s);
  }

  const std::shared_ptr<LoadRun> run;
  RequestRecord record;
  std::string body;
  std::optional<AnswerReader> reader;
  std::optional<double> retry_after_s;
};

LoadRun::LoadRun(HttpClient& client, Workload workload, RequestFormat format, LoadRunOptions options)
    : client_(client),
      format_(std::move(format)),
      options_(options),
      start_(std::chrono::steady_clock::now()),
      workload_(std::move(workload)) {}

std::shared_ptr<LoadRun> LoadRun::Start(HttpClient& client, Workload workload, RequestFormat format,
                                        LoadRunOptions options) {
  std::shared_ptr<LoadRun> run(new LoadRun(client, std::move(workload), std::move(format), options));
  client.At(run->start_, [run] { run->Begin(); });
  return run;
}

double LoadRun::Seconds(Time time) const { return ToSeconds(time - start_); }

void LoadRun::Begin() {
  PrepareNext();
  if (workload_.users() == 0) return AwaitArrival();
  for (int64_t i = 0; i < workload_.users() && next_; ++i) {
    SendNext(Seconds(std::chrono::steady_clock::now()));
  }
}

void LoadRun::PrepareNext() {
  next_.reset();
  if (stopped_) return;
  const std::optional<PlannedRequest> planned = workload_.Next();
  if (!planned) return;
  Prepared prepared;
  prepared.record.index = prepared_++;
  prepared.record.input_tokens_wanted = planned->input_tokens;
  prepared.record.output_tokens_wanted = planned->output_tokens;
  prepared.record.scheduled_s = planned->arrival_s;
  prepared.body = format_.Body(*planned, prepared.record.index);
  next_ = std::move(prepared);
}

void LoadRun::AwaitArrival() {
  if (!next_) return FinishIfDone();
  client_.At(start_ + Duration(next_->record.scheduled_s), [run = shared_from_this()] {
    if (!run->next_) return;  // stopped
    run->SendNext(run->next_->record.scheduled_s);
    run->AwaitArrival();
  });
}

void LoadRun::SendNext(double scheduled_s) {
  next_->record.scheduled_s = scheduled_s;
  next_->record.sent_s = Seconds(std::chrono::steady_clock::now());
  const auto attempt = std::make_shared<Attempt>(shared_from_this(), *std::move(next_));
  {
    const std::lock_guard lock(mutex_);
    ++progress_.sent;
    ++progress_.running;
  }
  SendAttempt(attempt);
  PrepareNext();
}

void LoadRun::SendAttempt(const std::shared_ptr<Attempt>& attempt) {
  RequestRecord& record = attempt->record;
  record.error.clear();
  record.http_status = 0;
  attempt->retry_after_s.reset();
  attempt->reader.emplace(&record);
  const bool last = record.retries == options_.retries;
  client_.Send({.path = format_.Path(), .body = last ? std::move(attempt->body) : attempt->body}, attempt);
}

void LoadRun::OnEnd(const std::shared_ptr<Attempt>& attempt, std::optional<double> retry_after_s,
                    double now_s) {
  RequestRecord& record = attempt->record;
  const bool busy = record.http_status == kTooManyRequests || record.http_status == kServiceUnavailable;
  if (record.outcome != Outcome::kHttpError || !busy || record.retries == options_.retries || stopped_) {
    return Finish(attempt);
  }
  ++record.retries;
  waiting_.insert(attempt);
  client_.At(start_ + Duration(now_s + retry_after_s.value_or(kRetryAfterUnlessToldS)),
             [run = shared_from_this(), attempt] {
               if (run->waiting_.erase(attempt) > 0) run->SendAttempt(attempt);
             });
}

void LoadRun::Finish(const std::shared_ptr<Attempt>& attempt) {
  const double end_s = attempt->record.end_s;
  const bool completed = attempt->record.completed();
  {
    const std::lock_guard lock(mutex_);
    --progress_.running;
    ++(completed ? progress_.completed : progress_.failed);
    progress_.tokens += attempt->record.completion_tokens;
    result_.duration_s = std::max(result_.duration_s, end_s);
    result_.records.push_back(std::move(attempt->record));
  }
  if (workload_.users() == 0) return FinishIfDone();
  if (completed) return NextOfUser(end_s);
  client_.At(start_ + Duration(end_s + kPauseAfterFailureS),
             [run = shared_from_this(), end_s] { run->NextOfUser(end_s + kPauseAfterFailureS); });
}

void LoadRun::NextOfUser(double now_s) {
  const std::optional<double> limit_s = workload_.options().duration_s;
  if (limit_s && now_s >= *limit_s) next_.reset();
  if (next_) SendNext(now_s);
  FinishIfDone();
}

void LoadRun::FinishIfDone() {
  const std::lock_guard lock(mutex_);
  if (next_ || progress_.running > 0 || done_) return;
  result_.stopped = stopped_;
  done_ = true;
  done_changed_.notify_all();
}

void LoadRun::Stop() {
  client_.At(start_, [run = shared_from_this()] {
    run->stopped_ = true;
    run->next_.reset();
    run->client_.CancelAll();
    for (const auto& attempt : std::exchange(run->waiting_, {})) {
      attempt->record.outcome = Outcome::kCancelled;
      run->Finish(attempt);
    }
    run->FinishIfDone();
  });
}

bool LoadRun::WaitFor(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return done_changed_.wait_for(lock, timeout, [this] { return done_; });
}

LoadProgress LoadRun::Progress() const {
  const std::lock_guard lock(mutex_);
  LoadProgress progress = progress_;
  progress.elapsed_s = Seconds(std::chrono::steady_clock::now());
  return progress;
}

LoadResult LoadRun::TakeResult() {
  const std::lock_guard lock(mutex_);
  std::sort(result_.records.begin(), result_.records.end(),
            [](const RequestRecord& a, const RequestRecord& b) { return a.index < b.index; });
  return std::move(result_);
}

}  // namespace longspan::load
