// The HTTP API: OpenAI's endpoints, health, metrics, and the state of the group.
//
// It listens from its creation on, so that /health tells how loading goes. Threads: all methods from any
// thread, but for the destructor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/api/api_keys.h"
#include "runtime/api/http_server.h"
#include "runtime/api/metrics.h"
#include "runtime/api/served_model.h"

namespace longspan {

struct ApiServerOptions {
  HttpServerOptions http;
  std::optional<ApiKeys> keys;  // without, everybody may use it
  std::string model_name;
};

class ApiServer {
 public:
  // An error is one of HttpServer::Create. `clock` outlives the server.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Create(ApiServerOptions options, const Clock& clock);
  ~ApiServer();

  int port() const;

  // What /health tells: loading (0 to 1), then ready, draining, or failed and why.
  void SetProgress(double fraction);
  // From here on calls are answered. The model is kept until the server is destroyed.
  void SetReady(ServedModel model);
  // Calls are refused with 503; those that run go on.
  void SetDraining();
  // Ends all open calls with this error, and refuses further ones.
  void Fail(const absl::Status& reason);

  // Waits until the open calls' answers have left, for `timeout` at most.
  void Finish(std::chrono::milliseconds timeout);

 private:
  class State;
  explicit ApiServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace longspan
