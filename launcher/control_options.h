// How a coordinator and its groups reach each other: options of both sides.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/control_channel.h"
#include "launcher/cli_fwd.h"

namespace longspan {

// PEM files; all or none.
struct ControlFiles {
  std::string ca, certificate, key;
};

// --grpc-ca, --grpc-cert and --grpc-key, in the group "Network" of the help.
void AddControlFiles(CLI::App& app, ControlFiles* files);

// UsageError when some are missing, or a public address would go without.
absl::Status CheckControlFiles(const ControlFiles& files, const std::string& host, bool insecure);

// Has what goes wrong below the control channel logged, the same text once a minute.
void LogControlErrors();

// Errors name the file.
absl::StatusOr<ControlTls> ReadControlTls(const ControlFiles& files);

}  // namespace longspan
