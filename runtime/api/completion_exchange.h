// A call that generates text, from its submission to the last byte of its answer.
//
// The engine's thread adds tokens; the server's thread takes what has gathered whenever the client can be
// written to, so that a slow client gets few large events and costs no more than its text. Tokens of a stream
// leave evenly (runtime/engine/token_pace.h), and all that is left leaves with the last one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/api/http_message.h"
#include "runtime/api/metrics.h"
#include "runtime/api/openai_request.h"
#include "runtime/api/openai_response.h"
#include "runtime/api/served_model.h"

namespace longspan {

class CompletionExchange final : public HttpExchange,
                                 public std::enable_shared_from_this<CompletionExchange> {
 public:
  // Submits the choices of a call. `prompts`: token ids, one for each of the call's prompts. `origin` is the
  // HTTP request. Errors are for ErrorBody; nothing is submitted then. `metrics` and `clock` outlive it and
  // what it submitted.
  static absl::StatusOr<std::shared_ptr<CompletionExchange>> Start(const CompletionCall& call,
                                                                   std::vector<std::vector<int32_t>> prompts,
                                                                   const ServedModel& model, Metrics& metrics,
                                                                   const Clock& clock,
                                                                   const HttpRequest& origin, HttpWake wake);

  // Whether the server has room for a call, before its prompts are tokenized. An error was counted and logged
  // as that of a refused call.
  static absl::Status CheckRoom(const CompletionCall& call, const ServedModel& model, Metrics& metrics,
                                const HttpRequest& origin);

  Progress Next() override;
  void OnDisconnect() override;

  // Any thread: ends the call with an error, whatever the engine does.
  void Fail(const absl::Status& error);

  // Of its choices, in order.
  const std::vector<TicketId>& tickets() const { return tickets_; }

 private:
  class Choice;
  // What the server's thread has not taken yet.
  struct News {
    std::string text;
    std::vector<int32_t> tokens;
    std::vector<PositionLogprobs> logprobs;
    std::vector<PositionLogprobs> prompt_logprobs;
    std::optional<FinishReason> finish;
    Clock::Time release;  // not to be taken before
  };
  static void Gather(Clock::Time now, std::deque<News>& news);
  News& NewsOf(size_t choice, Clock::Time now, Clock::Time release);
  std::vector<News> TakeNews(Clock::Time now, Clock::Time* more_at);

  CompletionExchange(const CompletionCall& call, std::vector<std::vector<int32_t>> prompts,
                     const ServedModel& model, Metrics& metrics, const Clock& clock,
                     const HttpRequest& origin, HttpWake wake);
  absl::Status Submit(const CompletionCall& call);
  absl::Status ErrorOf(FinishReason reason) const;
  std::string Render(std::vector<News> news);
  void CancelAll();
  void Conclude(const std::string& outcome, int status);
  int64_t prompt_tokens() const;

  const ServedModel& model_;
  Metrics& metrics_;
  const Clock& clock_;
  const std::string id_, peer_;
  const HttpWake wake_;
  const Clock::Time begin_;
  const bool chat_, stream_, echo_;
  const int n_;
  const std::optional<double> timeout_s_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<TicketId> tickets_;

  // Of the server's thread.
  CompletionResponse response_;
  bool begun_ = false, concluded_ = false;
  std::vector<bool> echoed_;  // by choice: its prompt was sent

  std::mutex mutex_;                    // of the following
  std::vector<std::deque<News>> news_;  // by choice; all but the first piece leave later
  int unfinished_ = 0;
  std::optional<FinishReason> reason_;  // of the choice that ended last
  absl::Status error_;
  int64_t completion_tokens_ = 0;
  std::optional<Clock::Time> start_, first_token_, end_;
};

}  // namespace longspan
