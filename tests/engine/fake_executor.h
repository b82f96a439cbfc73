// A group without a model: checks that every batch makes sense, and answers with toy logits.
//
// It keeps what the workers would keep (slots, block tables, who owns which page) and fails the running test
// when a batch contradicts it. Its logits are a function of the sequence's own tokens alone, as a model's
// are.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/cpu/thread_pool.h"
#include "kvstore/kv_geometry.h"
#include "runtime/engine/executor.h"

namespace longspan {

// The logits that follow `tokens`, [vocab].
std::vector<float> ToyLogits(std::span<const int32_t> tokens, int64_t vocab_size);

class FakeExecutor : public Executor {
 public:
  struct Options {
    KvGeometry geometry;
    int64_t vocab_size = 0;
    int64_t chunk_tokens = 0;
    int max_sequences = 0;
    int64_t max_logit_rows = 0;
    std::optional<int64_t> fails_at_step;
    std::optional<int32_t> nan_after;  // sequences that hold this token get logits of NaN
  };

  explicit FakeExecutor(Options options);

  absl::StatusOr<std::span<const float>> Execute(const StepBatch& batch) override;
  int host_threads() const override { return threads_.threads(); }
  void HostFor(int64_t count, absl::FunctionRef<void(int64_t, int)> body) override {
    threads_.ForEach(count, body);
  }

  int64_t steps() const { return steps_; }
  int64_t most_tokens() const { return most_tokens_; }  // of one step

 private:
  struct Block {
    std::vector<int32_t> pages;
  };
  struct Slot {
    int32_t shift = 0;
    std::vector<int32_t> tokens;
    std::vector<int64_t> first_live_blocks;        // [layer groups]
    std::vector<std::map<int64_t, Block>> blocks;  // [layer groups]
    bool lost_pages = false;                       // to another sequence: it must have finished
  };

  void CheckStep(const StepBatch& batch);
  void Start(const BatchSequence& part);
  void Continue(const BatchSequence& part);
  void TakeGrants(const StepBatch& batch, const BatchSequence& part);
  void CheckCoverage(const BatchSequence& part);
  void AnswerLogits(const BatchSequence& part);
  void Release(const Slot& slot, size_t group, const Block& block, int64_t index);

  const Options options_;
  ThreadPool threads_{2};
  std::map<int32_t, Slot> slots_;
  std::vector<std::map<int32_t, int32_t>> owners_;  // [kvp] page to slot
  std::vector<float> logits_;
  int64_t steps_ = 0;
  int64_t most_tokens_ = 0;
};

}  // namespace longspan
