#include "launcher/http_front.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/model_texts.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"

namespace longspan {
namespace {

constexpr int64_t kMostRequests = 1 << 20;

}  // namespace

void AddHttpFrontOptions(CLI::App& app, HttpFrontOptions* options) {
  const std::vector<CLI::Option*> network = {
      AddOption(app, "--api-key-file", "F",
                "only for these keys: on each line the SHA-256 of one, as `printf %s \"$KEY\" | sha256sum` "
                "prints it",
                Into(&options->api_key_file, NonEmptyText())),
      AddOption(app, "--tls-cert", "F", "HTTPS with this certificate chain (PEM)",
                Into(&options->tls_cert, NonEmptyText())),
      AddOption(app, "--tls-key", "F", "the certificate's private key (PEM)",
                Into(&options->tls_key, NonEmptyText())),
      AddInsecure(app, &options->insecure),
  };
  SetTitle(network, "Network");
  const std::vector<CLI::Option*> service = {
      AddOption(app, "--served-model-name", "NAME", "what requests call the model (the file's name)",
                Into(&options->served_model_name, NonEmptyText())),
      AddOption(app, "--max-queue", "N", "requests that wait at most; more are told to come back, 429 (256)",
                Into(&options->max_queue, WholeNumber(1, kMostRequests))),
      AddOption(app, "--decision-log", "F",
                "writes which request runs where and why, as JSON lines that can be replayed",
                Into(&options->decision_log, NonEmptyText())),
      AddOption(app, "--drain-timeout", "TIME",
                "at SIGTERM, or under mpirun at SIGUSR1: how long open requests may go on (30s)",
                Into(&options->drain_timeout_s, Duration())),
  };
  SetTitle(service, "Service");
}

CLI::Option* AddInsecure(CLI::App& app, bool* insecure) {
  return AddFlag(app, "--insecure",
                 "allows public addresses without TLS: everybody on the way can read along", insecure);
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

absl::Status ParseHostPort(std::string_view text, std::string* host, int64_t* port) {
  const size_t colon = text.rfind(':');
  int64_t number = 0;
  if (colon == std::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(std::string(text.substr(colon + 1)), &number) || number < 0 || number > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", std::string(text), "' is not HOST:PORT, as in 127.0.0.1:8000"));
  }
  std::string_view name = text.substr(0, colon);
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  *host = name;
  *port = number;
  return absl::OkStatus();
}

absl::Status CheckHttpFront(const HttpFrontOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return UsageError(options.tls_cert.empty() ? "--tls-key needs --tls-cert beside it"
                                               : "--tls-cert needs --tls-key beside it");
  }
  if (IsLoopback(options.host) || !options.tls_cert.empty() || options.insecure) return absl::OkStatus();
  return UsageError(absl::StrCat("HTTP on ", options.host,
                                 " would let other machines read and send everything in the clear: give "
                                 "--tls-cert and --tls-key, or --insecure where the network is trusted"));
}

absl::StatusOr<std::unique_ptr<ApiServer>> ListenForHttp(HttpFrontOptions* options,
                                                         const std::string& address_options,
                                                         const std::string& model, const Clock& clock) {
  ApiServerOptions api;
  api.http.host = options->host;
  api.http.port = static_cast<int>(options->port);
  api.http.address_name = address_options;
  api.http.tls_certificate = options->tls_cert;
  api.http.tls_key = options->tls_key;
  if (options->served_model_name.empty()) options->served_model_name = ModelNameOf(model);
  api.model_name = options->served_model_name;
  if (!options->api_key_file.empty()) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options->api_key_file));
    LONGSPAN_ASSIGN_OR_RETURN(api.keys, ApiKeys::Parse(text, options->api_key_file));
  }
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<ApiServer> server, ApiServer::Create(std::move(api), clock));
  spdlog::info("listening on http{}://{}:{}", options->tls_cert.empty() ? "" : "s", options->host,
               server->port());
  return server;
}

absl::StatusOr<LoggedDispatcher::Sink> OpenDecisionLog(const HttpFrontOptions& options) {
  if (options.decision_log.empty()) return LoggedDispatcher::Sink();
  const auto file = std::make_shared<std::ofstream>(options.decision_log);
  if (!*file) {
    return absl::FailedPreconditionError(
        absl::StrCat("--decision-log ", options.decision_log, ": cannot be written: ", std::strerror(errno)));
  }
  return [file](std::string_view line) { *file << line << std::endl; };
}

}  // namespace longspan
