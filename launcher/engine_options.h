// The engine of a command, from its options and the group it drives.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher/model_options.h"
#include "runtime/coordinator/coordinator.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/group.h"
#include "runtime/engine/request_check.h"
#include "runtime/model/model_config.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// What ends a text, by the configuration and by the tokenizer, which may be null.
std::vector<int32_t> EosTokenIds(const ModelConfig& config, const Tokenizer* tokenizer);

// `tokenizer` may be null. Requests without a seed get
// one that differs from run to run.
EngineOptions EngineOptionsFor(const ModelConfig& config, const Tokenizer* tokenizer, const Group& group,
                               const ModelOptions& options);

// What a request must keep to whatever the memory: checked before a model is loaded, to fail early.
RequestLimits LimitsBeforeLoading(const ModelConfig& config, const ModelOptions& options);

// Requests without a seed get one that differs from run to run.
CoordinatorOptions CoordinatorOptionsFor(const ModelConfig& config, const ModelOptions& options);

}  // namespace longspan
