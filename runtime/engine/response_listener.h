// What whoever asked hears of a request that runs somewhere: in this process, or in a group far away.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "runtime/engine/logprobs.h"
#include "runtime/engine/request.h"
#include "runtime/engine/token_pace.h"

namespace longspan {

struct GeneratedToken {
  int32_t id = 0;
  TokenPace pace;                            // when it should leave
  std::optional<PositionLogprobs> logprobs;  // where the request asks for them
};

// One call at a time, not always from the same thread. Ends with one call of OnFinish or OnError.
class ResponseListener {
 public:
  virtual ~ResponseListener() = default;

  // The request has left the queue. Once at most.
  virtual void OnStart() {}
  // Of the prompt's tokens from the second on, in order, where the request asks for them.
  virtual void OnPromptLogprobs(PositionLogprobs) {}
  // Returns false to stop: OnFinish(kStop) follows.
  virtual bool OnToken(const GeneratedToken& token) = 0;
  // As RequestListener's.
  virtual void OnReadyForKv() {}
  virtual void OnKvArrived(const KvArrival&) {}
  virtual void OnFinish(FinishReason reason) = 0;
  // It was refused, or ends for a reason that is not the request's own.
  virtual void OnError(const absl::Status& error) = 0;
};

}  // namespace longspan
