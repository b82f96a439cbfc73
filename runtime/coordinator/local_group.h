// The group of this process, as a coordinator or an agent drives it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "runtime/coordinator/group_link.h"
#include "runtime/engine/engine_loop.h"

namespace longspan {

// Threads: all methods from any thread.
class LocalGroup final : public GroupLink {
 public:
  // Of Request::grammar; called from any thread.
  using MakeConstraint =
      std::function<absl::StatusOr<std::unique_ptr<TokenConstraint>>(const std::string& grammar)>;

  // The loop outlives it.
  LocalGroup(EngineLoop& loop, MakeConstraint make_constraint)
      : loop_(loop), make_constraint_(std::move(make_constraint)) {}

  void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener) override;
  void Continue(RunId run, int32_t token) override;
  void Cancel(RunId run) override;

 private:
  class Listener;

  EngineLoop& loop_;
  const MakeConstraint make_constraint_;

  std::mutex mutex_;  // of the following
  absl::flat_hash_map<RunId, EngineLoop::Ticket> tickets_;
};

}  // namespace longspan
