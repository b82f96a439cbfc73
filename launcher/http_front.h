// The HTTP side of a command that serves: its options, and the server that they make.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "launcher/cli_fwd.h"
#include "runtime/api/api_server.h"
#include "runtime/coordinator/decision_log.h"

namespace longspan {

struct HttpFrontOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8000;
  std::string api_key_file, tls_cert, tls_key;  // empty: none
  std::string served_model_name;                // empty: the file's
  int64_t max_queue = 256;
  std::string decision_log;  // empty: none
  double drain_timeout_s = 30;
  bool insecure = false;
};

// The options but for the address; in the groups "Network" and "Service" of the help.
void AddHttpFrontOptions(CLI::App& app, HttpFrontOptions* options);
CLI::Option* AddInsecure(CLI::App& app, bool* insecure);

// Whether only processes of this machine reach this host name or address.
bool IsLoopback(const std::string& host);
// HOST:PORT, [IPV6]:PORT.
absl::Status ParseHostPort(std::string_view text, std::string* host, int64_t* port);

// UsageError names the options that do not go together. A public address needs TLS or --insecure.
absl::Status CheckHttpFront(const HttpFrontOptions& options);

// Listens, and says where. `model` is the path of the model that it is going to serve; errors name the
// address by its options, as in "--host 127.0.0.1 --port 8000".
absl::StatusOr<std::unique_ptr<ApiServer>> ListenForHttp(HttpFrontOptions* options,
                                                         const std::string& address_options,
                                                         const std::string& model, const Clock& clock);

// What writes lines to --decision-log. FailedPrecondition when the file cannot be written.
absl::StatusOr<LoggedDispatcher::Sink> OpenDecisionLog(const HttpFrontOptions& options);

}  // namespace longspan
