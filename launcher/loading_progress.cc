#include "launcher/loading_progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "comm/clock.h"

namespace longspan {

ProgressStyle ChooseProgressStyle(bool terse) {
  if (isatty(STDERR_FILENO) != 0) return ProgressStyle::kLive;
  return terse ? ProgressStyle::kQuiet : ProgressStyle::kOneLine;
}

LoadingProgress::LoadingProgress(std::string model, ProgressStyle style)
    : model_(std::move(model)), style_(style), begin_(std::chrono::steady_clock::now()) {
  Update(0);
}

void LoadingProgress::Update(double fraction) {
  const int percent = static_cast<int>(100 * fraction);
  if (style_ != ProgressStyle::kLive || percent == shown_percent_) return;
  shown_percent_ = percent;
  std::fprintf(stderr, "\rlongspan: loading %s %3d %%", model_.c_str(), percent);
}

double LoadingProgress::Done() {
  const double seconds = ToSeconds(std::chrono::steady_clock::now() - begin_);
  if (style_ != ProgressStyle::kQuiet) {
    std::fprintf(stderr, "%slongspan: loading %s done in %.1f s\n",
                 style_ == ProgressStyle::kLive ? "\r" : "", model_.c_str(), seconds);
  }
  return seconds;
}

}  // namespace longspan
