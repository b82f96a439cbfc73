// What a coordinator and its groups say, as the rest of the program knows it, and as it travels
// (comm/control.proto). Pure functions.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "comm/control.pb.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/coordinator/group_link.h"
#include "runtime/engine/request.h"
#include "runtime/engine/response_listener.h"

namespace longspan {

control::Register ToMessage(const GroupDescription& description);
// InvalidArgument names a value that no group can have.
absl::StatusOr<GroupDescription> FromMessage(const control::Register& message);

control::Status ToMessage(const GroupStatus& status);
// InvalidArgument when it is not of a group with so many kvp ranks.
absl::StatusOr<GroupStatus> FromMessage(const control::Status& message, int kvp);

// The request's seed, largest output and shift are set; it has no deadline there.
control::Start ToMessage(RunId run, const Request& request);
Request FromMessage(const control::Start& message);

control::KvArrived ToMessage(RunId run, const KvArrival& arrival);
KvArrival FromMessage(const control::KvArrived& message);

control::Token ToMessage(RunId run, const GeneratedToken& token);
GeneratedToken FromMessage(const control::Token& message);

control::PositionLogprobs ToMessage(const PositionLogprobs& logprobs);
PositionLogprobs FromMessage(const control::PositionLogprobs& message);

control::End EndMessage(RunId run, FinishReason reason);
control::End EndMessage(RunId run, const absl::Status& error);
// Calls OnFinish or OnError.
void TellEnd(const control::End& message, ResponseListener& listener);

}  // namespace longspan
