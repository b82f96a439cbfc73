#include "launcher/control_options.h"

#include <map>
#include <mutex>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/http_front.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"

namespace longspan {
namespace {

constexpr std::chrono::minutes kRepeatAfter{1};

}  // namespace

void AddControlFiles(CLI::App& app, ControlFiles* files) {
  const std::vector<CLI::Option*> added = {
      AddOption(app, "--grpc-ca", "F",
                "between coordinator and groups: who they trust, a certificate (PEM; launcher/make-certs)",
                Into(&files->ca, NonEmptyText())),
      AddOption(app, "--grpc-cert", "F", "what this side proves itself with (PEM)",
                Into(&files->certificate, NonEmptyText())),
      AddOption(app, "--grpc-key", "F", "the certificate's private key (PEM)",
                Into(&files->key, NonEmptyText())),
  };
  SetTitle(added, "Network");
}

absl::Status CheckControlFiles(const ControlFiles& files, const std::string& host, bool insecure) {
  const int given = !files.ca.empty() + !files.certificate.empty() + !files.key.empty();
  if (given != 0 && given != 3) {
    return UsageError("--grpc-ca, --grpc-cert and --grpc-key go together: both sides prove themselves");
  }
  if (given == 3 || IsLoopback(host) || insecure) return absl::OkStatus();
  return UsageError(absl::StrCat("coordinator and groups over ", host,
                                 " would trust everybody on the way: give --grpc-ca, --grpc-cert and "
                                 "--grpc-key (launcher/make-certs makes some), or --insecure where the "
                                 "network is trusted"));
}

void LogControlErrors() {
  static std::mutex mutex;
  static auto* logged = new std::map<std::string, Clock::Time>;  // under the mutex
  LogControlErrors([](const std::string& text) {
    const std::lock_guard lock(mutex);
    const Clock::Time now = SteadyClock().Now();
    std::erase_if(*logged, [now](const auto& entry) { return now - entry.second > kRepeatAfter; });
    if (!logged->emplace(text, now).second) return;
    spdlog::warn("a connection between coordinator and groups is not let in: {}", text);
  });
}

absl::StatusOr<ControlTls> ReadControlTls(const ControlFiles& files) {
  ControlTls tls;
  if (files.ca.empty()) return tls;
  LONGSPAN_ASSIGN_OR_RETURN(tls.ca, ReadTextFile(files.ca));
  LONGSPAN_ASSIGN_OR_RETURN(tls.certificate, ReadTextFile(files.certificate));
  LONGSPAN_ASSIGN_OR_RETURN(tls.key, ReadTextFile(files.key));
  return tls;
}

}  // namespace longspan
