// What model_bench times on one group: steps of the engine that decode, and whole prompts.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/measurement.h"
#include "runtime/engine/group.h"
#include "runtime/model/model_source.h"

namespace longspan::bench {

struct ModelCaseOptions {
  std::vector<int64_t> batches = {1, 4, 16};    // sequences decoded together
  std::vector<int64_t> depths = {0, 8192};      // tokens of KV before those that are decoded
  std::vector<int64_t> prefills = {512, 4096};  // tokens of a prompt
  int64_t chunk_tokens = 512;                   // of a prompt, a step

  // What the group must be created with.
  int64_t MaxContext() const;
  int64_t MaxSequences() const;
};

// Fills the KV memory of this rank with random bf16 values, as if tokens had been computed: a decode at depth
// takes the KV it finds.
void FillKv(Group& group);

// On rank 0. `threads` are those of all ranks. Stops the program with a message when the group fails or its
// memory cannot hold a case.
void RunModelCases(const ModelSource& source, Group& group, int threads, const ModelCaseOptions& options,
                   Measurement& measurement);

}  // namespace longspan::bench
