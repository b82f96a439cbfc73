// One rank's part of a decoder-only transformer: backend operations and collectives, in the order of the
// model.
//
// Per layer: norm; this rank's columns of queries, keys and values, gathered over the kvp ranks; rotary
// embedding and append by the owner of each block; attention over this rank's blocks; one all-to-all over the
// kvp ranks of (partial, log-sum-exp); merge; output projection and gated FFN over all ranks, each followed
// by a sum over all ranks in a fixed tree. All work is launched on one stream; nothing here waits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/ordered_all_reduce.h"
#include "comm/progress_record.h"
#include "kernels/backend.h"
#include "runtime/model/model_source.h"
#include "runtime/model/shard.h"
#include "runtime/model/sharded_weights.h"

namespace longspan {

// Everything that one step needs, in device memory. n rows, one a token.
struct DecoderInput {
  int64_t rows = 0;
  // Tokens of this rank's part of the vocabulary, as rows of its embedding shard, in batch order.
  const int32_t* local_ids = nullptr;
  std::vector<int64_t> ids_by_rank;      // how many tokens each rank embeds; their sum is n
  const int32_t* embed_order = nullptr;  // [n] batch row of each embedded token, by rank
  const int32_t* shifts = nullptr;       // [n] shift of each row's sequence
  struct LayerGroupInput {
    const float* cosines = nullptr;  // [n, head_dim / 2]
    const float* sines = nullptr;
    DevicePlan plan;
  };
  std::vector<LayerGroupInput> groups;  // by layer group
  const int32_t* logit_rows = nullptr;  // [num_logits] batch rows whose logits are wanted
  int64_t num_logits = 0;
};

struct DecoderOptions {
  ProgressRecord* record = nullptr;  // hears of each operation; must outlive the decoder
  KvLayout kv_layout;
  int layers_per_page = 1;
  int64_t max_rows = 0;        // n at most
  int64_t max_logits = 0;      // rows of logits at most
  int64_t max_split_rows = 0;  // rows of a step whose attention is split by class, at most
};

class Decoder {
 public:
  // Collective. `source` is needed during Create only; `backend`, `group` and `kvp_group` (null when kvp is
  // 1) must outlive the decoder.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(const ModelSource& source, const ShardPlan& plan,
                                                         Backend& backend, Communicator& group,
                                                         Communicator* kvp_group,
                                                         const DecoderOptions& options,
                                                         const std::function<void(double)>& progress);

  size_t weight_bytes() const { return weights_.bytes; }

  // Launches one step. `kv_pages` is the device address of page 0. On rank 0 the result is the device address
  // of float32 [num_logits, vocab], valid until the next step; elsewhere null.
  absl::StatusOr<const float*> Forward(Stream& stream, const DecoderInput& input, std::byte* kv_pages);

 private:
  Decoder(const ModelConfig& config, const ShardPlan& plan, Backend& backend, Communicator& group,
          Communicator* kvp_group, const DecoderOptions& options);

  absl::Status AllocateWorkspace();
  absl::Status Embed(Stream& stream, const DecoderInput& input);
  absl::Status AttentionBlock(Stream& stream, const DecoderInput& input, int layer, std::byte* kv_pages);
  absl::Status Qkv(Stream& stream, int64_t rows, const LayerWeights& weights);
  KvLayer KvOfLayer(int layer, std::byte* kv_pages) const;
  // Merged slice of the head outputs of this rank, [rows, slice width].
  absl::StatusOr<Tensor> ExchangePartials(Stream& stream, const DecoderInput& input);
  absl::Status FfnBlock(Stream& stream, int64_t rows, const LayerWeights& weights);
  // update_ = x · weightᵀ summed over all ranks; `sum` says which sum, for the record.
  absl::Status RowParallel(Stream& stream, const Weight& weight, Tensor x, const char* sum);
  absl::StatusOr<const float*> Logits(Stream& stream, const DecoderInput& input);

  Tensor Rows(const DeviceBuffer& buffer, int64_t rows, int64_t columns) const {
    return MakeTensor(buffer.data(), DType::kF32, rows, columns);
  }

  const ModelConfig config_;
  const ShardPlan plan_;
  Backend& backend_;
  Communicator& group_;
  Communicator* kvp_group_;
  const DecoderOptions options_;
  ProgressRecord& record_;
  ShardedWeights weights_;
  std::unique_ptr<OrderedAllReduce> all_reduce_;

  // Work space, float32, sized for max_rows (n).
  DeviceBuffer hidden_;        // [n, hidden] the residual stream
  DeviceBuffer normed_;        // [n, hidden]
  DeviceBuffer update_;        // [n, hidden] output of a block, before it is added to the residual stream
  DeviceBuffer embedded_;      // [n, hidden] rows by rank
  DeviceBuffer qkv_part_;      // [n, this rank's columns]
  DeviceBuffer qkv_gathered_;  // by kvp rank [n, its columns]
  DeviceBuffer qkv_;           // [n, (heads + 2 kv_heads) head_dim]
  DeviceBuffer queries_;       // [n, heads head_dim]
  DeviceBuffer partials_;      // [n, heads head_dim]
  DeviceBuffer lse_;           // [n, heads]
  DeviceBuffer split_space_;
  DeviceBuffer packed_;                 // partials and lse by receiving rank
  DeviceBuffer received_;               // the same by sending rank
  DeviceBuffer merged_;                 // [n, this rank's slice of the heads]
  DeviceBuffer gate_, up_, activated_;  // [n, this rank's part of the FFN]
  DeviceBuffer logit_hidden_;           // [max_logits, hidden]
  DeviceBuffer logits_part_;            // [max_logits, this rank's part of the vocabulary]
  DeviceBuffer logits_gathered_;        // rank 0: by rank
  DeviceBuffer logits_;                 // rank 0: [max_logits, vocab]
};

}  // namespace longspan
