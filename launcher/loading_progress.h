// Tells on standard error how loading a model goes: live on a terminal, one line elsewhere.
#pragma once

#include <chrono>
#include <string>

namespace longspan {

enum class ProgressStyle { kQuiet, kOneLine, kLive };

// Live on a terminal; otherwise one line, or nothing where `terse`.
ProgressStyle ChooseProgressStyle(bool terse);

class LoadingProgress {
 public:
  LoadingProgress(std::string model, ProgressStyle style);

  void Update(double fraction);  // 0 to 1
  // Ends the line when loading has succeeded; returns how long it took, in seconds.
  double Done();

 private:
  const std::string model_;
  const ProgressStyle style_;
  const std::chrono::steady_clock::time_point begin_;
  int shown_percent_ = -1;
};

}  // namespace longspan
