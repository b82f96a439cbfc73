// What an engine is doing at one moment: for metrics, for the status page, for tests. Plain values.
#pragma once

#include <cstdint>
#include <vector>

#include "kvstore/piece_message.h"
#include "runtime/engine/request.h"

namespace longspan {

// A running request.
struct SequenceSnapshot {
  int64_t id = 0;  // the request's label
  int priority = 0;
  bool decoding = false;  // else its prompt is computed
  bool moving = false;    // its KV is awaited from another group, or kept for one
  int64_t prompt_tokens = 0;
  int64_t computed_tokens = 0;                        // positions whose KV is written
  int64_t output_tokens = 0;                          // so far
  int64_t max_tokens = 0;                             // of output
  std::vector<int64_t> pages_in_use, pages_reserved;  // [kvp]
};

// Neighbouring pages of one rank with the same owner.
struct PageRun {
  int64_t owner = 0;  // the id of a running request; 0 = nobody
  int64_t pages = 0;
};

// The KV store of one kvp rank; ranks that differ in tp alone hold the same pages.
struct KvRankSnapshot {
  int64_t capacity = 0, reserved = 0, in_use = 0;  // pages
  // The part of the reserved pages that holds no token: what is promised and not taken, and the unfilled
  // places of the last blocks. 0 when nothing is reserved.
  double waste_ratio = 0;
  std::vector<PageRun> map;  // all pages in order; the runs add up to `capacity`
};

// Since the engine was made.
struct EngineTotals {
  int64_t steps = 0;
  int64_t prefill_tokens_total = 0;     // computed; after a preemption again, and the output with the prompt
  int64_t decode_tokens_total = 0;      // generated, the first of each request too
  int64_t recomputed_tokens_total = 0;  // whose KV a preemption gave up
  int64_t preemptions_total = 0;
  // Time of steps. That of a step which did both is divided by what each part costs.
  double prefill_seconds_total = 0, decode_seconds_total = 0;
  // Of requests whose KV came from another group.
  int64_t handoffs_total = 0, handoffs_given_up_total = 0;
  int64_t handoff_useful_bytes = 0, handoff_moved_bytes = 0;
  PieceRejectionCounts handoff_refused_pieces = {};

  EngineTotals& operator+=(const EngineTotals& other);
};

struct EngineSnapshot : EngineTotals {
  int64_t waiting = 0, prefilling = 0, decoding = 0;  // requests
  int64_t waiting_prompt_tokens = 0;                  // of the queue
  int64_t prefill_tokens_left = 0;                    // of the running requests

  // Of late; 0 before the first measurement.
  double prefill_tokens_per_s = 0;  // while prompts were computed
  double decode_step_s = 0;         // a step with decodes: the gap between a stream's tokens

  std::vector<SequenceSnapshot> sequences;  // that run
  std::vector<KvRankSnapshot> ranks;        // [kvp]
};

}  // namespace longspan
