#include "launcher/load/run_progress.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"

namespace longspan::load {
namespace {

constexpr double kLiveEveryS = 1, kLinesEveryS = 10;

}  // namespace

RunProgress::RunProgress() : live_(isatty(STDERR_FILENO) != 0), next_s_(live_ ? 0 : kLinesEveryS) {}

void RunProgress::Update(const LoadProgress& progress) {
  if (progress.elapsed_s < next_s_) return;
  next_s_ += live_ ? kLiveEveryS : kLinesEveryS;
  const std::string line =
      absl::StrFormat("longspan: %.0f s: %d requests sent, %d running, %d completed, %d failed, %d tokens",
                      progress.elapsed_s, progress.sent, progress.running, progress.completed,
                      progress.failed, progress.tokens);
  if (live_) {
    std::fprintf(stderr, "\r%-*s", static_cast<int>(last_width_), line.c_str());
    last_width_ = static_cast<int64_t>(line.size());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void RunProgress::Done() {
  if (live_ && last_width_ > 0) std::fputc('\n', stderr);
}

}  // namespace longspan::load
