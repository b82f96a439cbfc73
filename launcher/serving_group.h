// A loaded group that serves requests: its engine, and what a coordinator is told of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "launcher/cli_fwd.h"
#include "launcher/model_options.h"
#include "launcher/model_texts.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/coordinator/group_link.h"
#include "runtime/coordinator/local_group.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/engine_loop.h"
#include "runtime/engine/group.h"
#include "runtime/model/model_source.h"

namespace longspan {

struct ServingOptions {
  std::string name;
  GroupRole role = GroupRole::kMixed;
  int64_t max_sequences = 64;
  double itl_target_s = kAutoItlTarget;
};

// --max-sequences and --itl-target, in the group "Service" of the help.
void AddServingOptions(CLI::App& app, ServingOptions* options);

class ServingGroup {
 public:
  // Everything given outlives it. Reads some of each weight, for the fingerprint.
  static absl::StatusOr<std::unique_ptr<ServingGroup>> Create(const ModelSource& source,
                                                              const ModelTexts& texts, Group& group,
                                                              const ModelOptions& model,
                                                              const ServingOptions& options,
                                                              const Clock& clock);

  const GroupDescription& description() const { return description_; }
  GroupLink& link() { return *link_; }
  // Any thread.
  GroupStatus status() const;
  // Any thread: lets Run return when what is open has ended, or after `timeout`.
  void Drain(Clock::Duration timeout) { loop_->Drain(timeout); }

  // Serves on this thread, until drained. An error means that the group is unusable. `tick` is called between
  // steps, and some times a second.
  absl::Status Run(const std::function<void()>& tick);

 private:
  ServingGroup(Group& group, const Clock& clock) : group_(group), clock_(clock) {}

  Group& group_;
  const Clock& clock_;
  GroupDescription description_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<EngineLoop> loop_;
  std::unique_ptr<LocalGroup> link_;

  mutable std::mutex mutex_;  // of the following
  CommCounters comm_;
};

// All but the numerics. Reads some of each weight.
GroupIdentity IdentityOf(const ModelSource& source, const ModelTexts& texts);

}  // namespace longspan
