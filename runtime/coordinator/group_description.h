// What a group is, and how it fares, as a coordinator knows it. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "kvstore/kv_geometry.h"

namespace longspan {

using GroupId = int64_t;  // from 1 in the order of joining; a group that joins again is another one

// kMixed computes prompts and generates; kPrefill computes prompts for kDecode groups.
enum class GroupRole : uint8_t { kMixed, kPrefill, kDecode };
std::string_view Name(GroupRole role);  // "mixed", "prefill", "decode"

// What groups that may take over each other's requests must share: with it equal, so are their tokens.
struct GroupIdentity {
  int protocol = 0;       // of the control channel
  std::string model;      // fingerprint of configuration and weights
  std::string tokenizer;  // fingerprint
  std::string numerics;   // block size, KV type, activations, instruction set, reduction order

  // FailedPrecondition names the first field that differs, and both values.
  absl::Status CheckEqual(const GroupIdentity& other) const;
};

struct GroupDescription {
  std::string name;  // for people
  GroupRole role = GroupRole::kMixed;
  GroupIdentity identity;
  std::string build;            // of the program; may differ
  bool rank_invariant = false;  // whether tokens are the same on any number of ranks
  int tp = 1;
  std::vector<std::string> hosts;                // [tp * kvp]
  std::vector<uint64_t> page_bytes;              // [tp * kvp], of one page of KV
  std::vector<std::string> transport_addresses;  // [tp * kvp]; empty: its KV does not move
  KvGeometry geometry;
  int64_t max_sequences = 0;        // at once
  int64_t max_context = 0;          // prompt plus output
  int64_t chunk_tokens = 0;         // of a prompt in one step at most
  int64_t prompt_logits_chunk = 0;  // the same, of requests with prompt_logits
};

// Whether every request needs the same pages on both; what they have may differ.
bool HaveEqualDemand(const GroupDescription& a, const GroupDescription& b);

// How a group fares, by its own measurement of late; 0 before the first.
struct GroupLoad {
  struct Progress {
    int64_t ticket = 0;
    int64_t computed_tokens = 0, output_tokens = 0;
  };
  double prefill_tokens_per_s = 0, decode_step_s = 0;
  std::vector<Progress> running;
};

}  // namespace longspan
