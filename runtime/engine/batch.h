// One step of a group: what the engine on rank 0 decides and every rank carries out.
//
// A batch is a plain value. It travels as bytes to all ranks of the group, so that all of them run the same
// step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/block_table.h"
#include "runtime/engine/kv_order.h"

namespace longspan {

enum class LogitRows : uint8_t { kNone, kLast, kAll };

// One sequence's part in the step: `tokens` at consecutive positions.
struct BatchSequence {
  int32_t slot = 0;     // names the sequence on the workers while it runs
  bool starts = false;  // the slot is new: forget what it held
  int32_t shift = 0;    // s in "block i lies on kvp rank (i + s) mod kvp"
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  LogitRows logits = LogitRows::kNone;
  std::vector<BlockGrant> grants;
  std::vector<int64_t> first_live_blocks;  // [layer groups]: blocks before it were taken back

  int64_t NumLogitRows() const;
};

struct StepBatch {
  int64_t step = 0;
  bool shutdown = false;  // the last batch: workers leave their loop
  // Before anything is computed, in this order. A batch may have nothing else.
  std::vector<KvOrder> kv_orders;
  std::vector<BatchSequence> sequences;

  int64_t NumTokens() const;
  int64_t NumLogitRows() const;

  void AppendTo(std::string* bytes) const;
  std::string Serialize() const {
    std::string bytes;
    AppendTo(&bytes);
    return bytes;
  }
  // Rejects bytes that are not a whole batch.
  static absl::StatusOr<StepBatch> Parse(std::string_view bytes);
};

}  // namespace longspan
