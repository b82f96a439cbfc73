#include "runtime/generation/stop_text.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"

namespace longspan {
namespace {

// How many characters at the end of the text are a beginning of the stop string.
size_t LengthOfBeginning(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (stop.starts_with(text.substr(text.size() - length))) return length;
  }
  return 0;
}

}  // namespace

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) LONGSPAN_CHECK(!stop.empty());
}

std::string StopText::Append(std::string_view piece) {
  if (stopped_) return "";
  held_ += piece;
  size_t end = std::string::npos;
  size_t held = 0;
  for (const std::string& stop : stops_) {
    end = std::min(end, held_.find(stop));
    held = std::max(held, LengthOfBeginning(held_, stop));
  }
  stopped_ = end != std::string::npos;
  if (!stopped_) end = held_.size() - held;
  std::string shown = held_.substr(0, end);
  held_.erase(0, stopped_ ? std::string::npos : end);
  return shown;
}

std::string StopText::Finish() { return std::exchange(held_, ""); }

}  // namespace longspan
