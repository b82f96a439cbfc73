// Running a command on a group: from the environment's ranks to a loaded model.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/model_options.h"
#include "launcher/rank_env.h"
#include "runtime/engine/group.h"
#include "runtime/model/model_source.h"

namespace longspan {

// What a command does with a group. All methods are called on rank 0 alone.
class GroupProgram {
 public:
  virtual ~GroupProgram() = default;

  // Before weights are loaded: everything that can fail early. Says how many sequences will run at once at
  // most.
  virtual absl::StatusOr<int64_t> Prepare(const ModelSource& source) = 0;
  // How loading goes, 0 to 1.
  virtual void OnProgress(double fraction) {}
  // With the group loaded. Returns the exit code, having said why when that is not 0; an error means that the
  // group is unusable.
  virtual absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double load_s) = 0;
  // A rank of the group is lost, or hangs: the job ends when this returns, or a second later, whatever Drive
  // is waiting for. Called once at most, on another thread, at any moment before, during or after the other
  // calls; not for an error that Drive has returned.
  virtual void OnLoss(const absl::Status& status) {}
};

// Every rank calls it; returns the process's exit code, and has said why when that is not 0. `terse`: say
// nothing about loading unless somebody looks at a terminal. A rank that fails, ends, stops or hangs while
// others wait for it ends the whole job; each rank then says what it was doing.
// `create_transport`: as in GroupOptions.
int RunOnGroup(const ModelOptions& options, const RankEnv& env, bool terse, GroupProgram& program,
               CreateTransport create_transport = {});

}  // namespace longspan
