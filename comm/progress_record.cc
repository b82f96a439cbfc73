#include "comm/progress_record.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace longspan {

std::string Activity::ToString() const {
  const std::string what(operation.data(), strnlen(operation.data(), operation.size()));
  switch (phase) {
    case Phase::kFree:
      return step == 0 ? what : absl::StrCat(what, ", after step ", step);
    case Phase::kLoading:
      return absl::StrCat(what, ", ", part, " % loaded");
    case Phase::kStep:
      break;
  }
  return absl::StrCat("step ", step, part < 0 ? "" : absl::StrCat(", layer ", part), ": ", what);
}

Activity ProgressRecord::Read() const {
  Activity activity;
  activity.phase = phase_.load(kOrder);
  activity.part = part_.load(kOrder);
  activity.step = step_.load(kOrder);
  activity.operations = operations_.load(kOrder);
  const char* operation = operation_.load(kOrder);
  const size_t bytes = std::min(std::strlen(operation), activity.operation.size() - 1);
  std::copy_n(operation, bytes, activity.operation.begin());
  return activity;
}

}  // namespace longspan
