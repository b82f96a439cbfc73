#include "launcher/load/request_record.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace longspan::load {

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCompleted:
      return "completed";
    case Outcome::kHttpError:
      return "http_error";
    case Outcome::kNoConnection:
      return "no_connection";
    case Outcome::kDisconnected:
      return "disconnected";
    case Outcome::kTimedOut:
      return "timed_out";
    case Outcome::kErrorInStream:
      return "error_in_stream";
    case Outcome::kBadAnswer:
      return "bad_answer";
    case Outcome::kCancelled:
      return "cancelled";
  }
  return "";
}

std::string RequestRecord::ErrorKind() const {
  if (outcome == Outcome::kHttpError) return absl::StrCat("HTTP ", http_status);
  return absl::StrReplaceAll(OutcomeName(outcome), {{"_", " "}});
}

}  // namespace longspan::load
