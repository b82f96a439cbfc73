// Tells on standard error how a run goes: each second on a terminal, every ten seconds elsewhere.
#pragma once

#include "launcher/load/load_run.h"

namespace longspan::load {

class RunProgress {
 public:
  RunProgress();

  // Writes when it is time to.
  void Update(const LoadProgress& progress);
  // Ends what stands on the terminal.
  void Done();

 private:
  const bool live_;
  double next_s_;
  int64_t last_width_ = 0;
};

}  // namespace longspan::load
