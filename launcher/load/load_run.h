// One run: makes a workload's requests of a server and keeps a record of each.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/load/http_client.h"
#include "launcher/load/request_format.h"
#include "launcher/load/request_record.h"
#include "launcher/load/workload.h"

namespace longspan::load {

struct LoadRunOptions {
  int64_t retries = 0;  // of a request answered with 429 or 503, each after the time that Retry-After names
};

// How a run goes.
struct LoadProgress {
  double elapsed_s = 0;
  int64_t sent = 0, running = 0, completed = 0, failed = 0;
  int64_t tokens = 0;  // of the requests that have ended
};

struct LoadResult {
  std::vector<RequestRecord> records;  // in order of arrival
  double duration_s = 0;               // until the last request ended
  bool stopped = false;                // by Stop, before all was done
};

// All work is done on the client's thread, so that a request is late only when that thread is busy; how late
// is in its record. Functions may be called on any other thread.
class LoadRun : public std::enable_shared_from_this<LoadRun> {
 public:
  // The client must outlive this.
  static std::shared_ptr<LoadRun> Start(HttpClient& client, Workload workload, RequestFormat format,
                                        LoadRunOptions options);

  // Sends no more and cancels what is open.
  void Stop();
  // True when the last request has ended, at once or within the timeout.
  bool WaitFor(std::chrono::milliseconds timeout);
  LoadProgress Progress() const;
  // Once, when WaitFor has returned true.
  LoadResult TakeResult();

 private:
  struct Attempt;
  // The next request, made before its time has come.
  struct Prepared {
    RequestRecord record;
    std::string body;
  };

  LoadRun(HttpClient& client, Workload workload, RequestFormat format, LoadRunOptions options);

  void Begin();
  void PrepareNext();
  void AwaitArrival();
  void SendNext(double scheduled_s);
  void SendAttempt(const std::shared_ptr<Attempt>& attempt);
  void OnEnd(const std::shared_ptr<Attempt>& attempt, std::optional<double> retry_after_s, double now_s);
  void Finish(const std::shared_ptr<Attempt>& attempt);
  void NextOfUser(double now_s);
  void FinishIfDone();
  double Seconds(Time time) const;

  HttpClient& client_;
  const RequestFormat format_;
  const LoadRunOptions options_;
  const Time start_;

  // Of the client's thread.
  Workload workload_;
  std::optional<Prepared> next_;
  int64_t prepared_ = 0;
  bool stopped_ = false;
  std::set<std::shared_ptr<Attempt>> waiting_;  // to be tried again

  mutable std::mutex mutex_;
  std::condition_variable done_changed_;
  LoadProgress progress_;
  LoadResult result_;
  bool done_ = false;
};

}  // namespace longspan::load
