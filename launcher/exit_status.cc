#include "launcher/exit_status.h"

#include <algorithm>

#include "absl/strings/cord.h"

namespace longspan {
namespace {

constexpr char kUsagePayload[] = "longspan/usage";
constexpr char kOk = '0', kFailure = '1', kUsage = '2';

}  // namespace

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(std::string(message));
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) { return status.GetPayload(kUsagePayload).has_value(); }

std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

std::string OneLineMessage(const absl::Status& status) {
  const std::string message = OneLine(std::string(status.message()));
  return message.empty() ? std::string(absl::StatusCodeToString(status.code())) : message;
}

std::string SerializeStatus(const absl::Status& status) {
  const char kind = status.ok() ? kOk : IsUsageError(status) ? kUsage : kFailure;
  return std::string(1, kind) + std::string(status.message());
}

absl::Status ParseStatus(std::string_view blob) {
  if (blob.empty()) return absl::InternalError("a rank sent an empty status");
  const std::string message(blob.substr(1));
  switch (blob[0]) {
    case kOk:
      return absl::OkStatus();
    case kUsage:
      return UsageError(message);
    case kFailure:
      return absl::UnknownError(message);
    default:
      return absl::InternalError("a rank sent a status of unknown kind");
  }
}

}  // namespace longspan
