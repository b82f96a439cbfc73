// A whole group inside one process: every rank is a thread. For tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/group.h"

namespace longspan::testing {

struct LocalGroupOptions {
  int tp = 1;
  int kvp = 1;
  int threads = 1;
  int64_t chunk_tokens = 512;
  int block_size = 64;
  DType kv_dtype = DType::kF32;
  ActivationDType activation = ActivationDType::kF32;
  Isa isa = Isa::kAuto;
  bool deferred = false;  // device memory that host code cannot read, and work that runs later
  uint64_t kv_bytes = uint64_t{64} << 20;
};

// What one request produced.
struct Generated {
  std::vector<int32_t> tokens;
  std::vector<float>
      logits;  // [positions, vocab] of every generated token, or of the prompt with prompt_logits
  FinishReason reason = FinishReason::kError;
};

struct GroupRun {
  std::vector<Generated> results;  // by request
  GroupReport report;
  int64_t steps = 0;
  int64_t prompt_rows = 0;
};

// Loads the model on tp * kvp thread ranks and runs all requests as one continuous batch. Aborts the test
// binary with a message when anything fails.
GroupRun RunLocalGroup(const std::string& model_path, std::span<const Request> requests,
                       const LocalGroupOptions& options);

// One rank's part of the same, for ranks of any kind; the result is rank 0's.
GroupRun RunRank(const ModelSource& source, Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator,
                 std::span<const Request> requests, const LocalGroupOptions& options);

// Logits of every position of the tokens, [tokens, vocab].
std::vector<float> PromptLogits(const std::string& model_path, const std::vector<int32_t>& tokens,
                                const LocalGroupOptions& options);

}  // namespace longspan::testing
