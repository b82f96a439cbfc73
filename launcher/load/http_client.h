// Many HTTP exchanges at once with one server, on one thread of their own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/load/url.h"

namespace longspan::load {

using Time = std::chrono::steady_clock::time_point;

struct HttpRequest {
  std::string method = "POST";
  std::string path;  // after the URL's base path
  std::string body;  // JSON; may be empty
};

struct HttpHead {
  int status = 0;
  std::string content_type;             // without parameters, in lower case
  std::optional<double> retry_after_s;  // when the header gives seconds
};

// Hears about one exchange, on the client's thread. `now` is when the bytes had been read.
class HttpListener {
 public:
  virtual ~HttpListener() = default;
  virtual void OnHead(const HttpHead& head, Time now) = 0;
  virtual void OnBody(std::string_view piece, Time now) = 0;
  // Comes last. Unavailable: no connection; DataLoss: it broke before the end; DeadlineExceeded: no byte came
  // for too long; InvalidArgument: what came is not HTTP; Cancelled: by CancelAll.
  virtual void OnEnd(const absl::Status& status, Time now) = 0;
};

struct HttpClientOptions {
  Url url;
  std::string api_key;           // sent as a bearer token unless empty
  std::string tls_ca_file;       // certificates to trust in place of the system's, unless empty
  double silence_limit_s = 600;  // how long no byte may come before an exchange ends
};

// Functions may be called on any thread, by listeners too. Connections are kept and used again. Raises the
// process's limit of open files as far as it may.
class HttpClient {
 public:
  // Errors name the host that cannot be found or the file that cannot be used. Does not connect yet.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(HttpClientOptions options);
  // What is open or waiting ends without a word.
  ~HttpClient();

  void Send(HttpRequest request, std::shared_ptr<HttpListener> listener);
  // Calls back on the client's thread, at once if the time has passed.
  void At(Time when, std::function<void()> callback);
  // Ends all exchanges, those to come as well.
  void CancelAll();

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan::load
