// One rank's side of a step: keeps the local block tables of running sequences, plans attention, drives the
// decoder.
//
// The engine on rank 0 decides; workers on all ranks apply the same batches in the same order and so agree.
// Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/handoff_agent.h"
#include "runtime/engine/staging_buffer.h"
#include "runtime/model/decoder.h"

namespace longspan {

struct WorkerOptions {
  ProgressRecord* record = nullptr;  // hears of each operation; must outlive the worker
  KvLayout kv_layout;
  int layers_per_page = 1;
  int64_t num_pages = 0;
};

class Worker {
 public:
  // `decoder` and `backend` must outlive the worker. Allocates the KV pool.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const ModelConfig& config, const ShardPlan& plan,
                                                        Decoder& decoder, Backend& backend,
                                                        const WorkerOptions& options);

  // Carries out a step and waits for it. On rank 0 returns the logits, float32 [NumLogitRows, vocab] in batch
  // order, valid until the next call; elsewhere an empty span.
  absl::StatusOr<std::span<const float>> Run(const StepBatch& batch);

  // Where orders about KV go, before the first of them; outlives the worker.
  void SetHandoffAgent(HandoffAgent* agent) { agent_ = agent; }
  // For it.
  KvPages LocalPages() const;

  size_t kv_bytes() const { return kv_pages_.bytes(); }
  // Device address of page 0, and the pages' shape; for tools that fill the store themselves.
  std::byte* kv_pages() const { return kv_pages_.data(); }

  // Batch rows whose attention may be split by class, at most; sizes the decoder's work space.
  static int64_t MaxSplitRows(const ModelConfig& config, const ShardPlan& plan, int threads);

 private:
  // The blocks of one sequence in one layer group that this rank holds.
  struct LocalBlocks {
    std::vector<int64_t> indices;  // ascending
    std::vector<int32_t> pages;    // [indices, pages_per_block]
  };
  struct Slot {
    int32_t shift = 0;
    std::vector<LocalBlocks> groups;    // [layer groups]
    std::optional<HandoffId> sends_to;  // its blocks go elsewhere as they are computed
    int64_t told_blocks = 0;            // those before it, to the agent
  };

  Worker(const ModelConfig& config, const ShardPlan& plan, Decoder& decoder, Backend& backend,
         const WorkerOptions& options);

  int PagesPerBlock(size_t group) const;
  absl::Status ApplyBlocks(const BatchSequence& sequence);
  absl::Status ApplyOrder(const KvOrder& order);
  // Of a slot, those from `begin` on.
  BlockPages PagesOf(const Slot& slot, int64_t begin) const;
  void TellComputed(const StepBatch& batch);
  // Flattens the batch into rows_.
  absl::Status CollectRows(const StepBatch& batch);
  void StageEmbedding();
  void StageGroup(const StepBatch& batch, size_t group);
  // Points input_ to what was staged and uploaded.
  void FillInput();

  const ModelConfig config_;
  const ShardPlan plan_;
  Decoder& decoder_;
  Backend& backend_;
  const WorkerOptions options_;
  std::unique_ptr<Stream> stream_;
  DeviceBuffer kv_pages_;
  HandoffAgent* agent_ = nullptr;  // null: there is no other group
  std::vector<Slot> slots_;
  std::vector<std::vector<double>> inverse_frequencies_;  // [layer groups][head_dim / 2]
  std::vector<float> logits_;

  // Of the current step; kept, so that a step allocates nothing once such a step was seen.
  struct BatchRows {
    std::vector<int32_t> tokens, shifts;    // [rows]
    std::vector<int64_t> positions;         // [rows]
    std::vector<int32_t> logit_rows;        // [rows of logits]
    std::vector<int32_t> local_ids, order;  // of the embedding, see DecoderInput
  };
  BatchRows rows_;
  std::vector<float> cosines_, sines_;  // [rows, head_dim / 2] of one layer group
  std::vector<AttentionSequence> attention_sequences_;
  AttentionPlan attention_plan_;  // of one layer group
  DecoderInput input_;
  // Places in staging_.
  struct GroupPlaces {
    size_t cosines = 0, sines = 0, blocks = 0, pages = 0, classes = 0, items = 0, slots = 0;
    int64_t num_items = 0;
    int splits = 0;
  };
  StagingBuffer staging_;
  std::vector<GroupPlaces> group_places_;
  size_t ids_place_ = 0, order_place_ = 0, shifts_place_ = 0, logits_place_ = 0;
};

}  // namespace longspan
