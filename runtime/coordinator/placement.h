// On which group a request runs best, and on which one its prompt is computed. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "kvstore/reservations.h"
#include "runtime/coordinator/group_description.h"
#include "runtime/engine/expected_wait.h"

namespace longspan {

// What the dispatcher keeps of a group.
struct GroupState {
  explicit GroupState(GroupDescription group);

  const GroupDescription description;
  Reservations store;               // of those that run there, whole or in part
  int64_t running = 0;              // requests
  int64_t prefill_tokens_left = 0;  // of prompts that are computed there, as far as it has told
  ServiceRates measured;            // 0 before it was
  bool draining = false;

  int64_t free_slots() const { return description.max_sequences - running; }
  // As measured, or as is usual.
  ServiceRates Rates(const ServiceRates& usual) const;
  // Whether it runs requests from their prompt to their end.
  bool runs_whole_requests() const { return description.role != GroupRole::kPrefill; }
  KvNeed Need(int64_t total_tokens, bool prompt_logits) const {
    return {total_tokens, prompt_logits ? description.prompt_logits_chunk : description.chunk_tokens};
  }
  // The longest request that it could hold if it were empty, prompt plus output.
  int64_t LargestContext(bool prompt_logits) const { return largest_context_[prompt_logits ? 1 : 0]; }
  // The same beside what was promised to those that run there, all but `without`; 0 when it takes no
  // requests.
  int64_t LargestContextNow(bool prompt_logits, std::span<const std::span<const int64_t>> without = {}) const;

 private:
  int64_t largest_context_[2];
};

struct Placement {
  GroupId group = 0;
  GroupRole role = GroupRole::kMixed;  // of the group
  int shift = 0;
  double expected_first_token_s = 0;
  double fullness = 0;        // afterwards: of its slots, or of the KV of the rank that has least left
  GroupId prefill_group = 0;  // that computes the prompt, and hands its KV to `group`; 0: `group` itself
  int prefill_shift = 0;      // there
};

// From the last token of a prompt computed on one group to the first token of another: the part of the
// transfer that nothing hides, since KV of earlier chunks moves while later ones are computed.
inline constexpr double kHandoffSeconds = 0.05;

// Rates to reckon with where a group was not measured yet: the mean of those that were, or made up.
ServiceRates UsualRates(std::span<const ServiceRates> measured);

// Seconds until a prompt of so many tokens is computed on a group, after those that are there.
double PrefillSeconds(const GroupState& group, int64_t prompt_tokens, const ServiceRates& rates);

// What a group offers to a request, whose prompt it computes at these rates; nothing when it does not fit
// beside what was promised to others.
std::optional<Placement> Offer(GroupId id, const GroupState& group, const KvNeed& need, int64_t prompt_tokens,
                               const ServiceRates& rates);

// The shift with which a prefill group takes a prompt in; nothing when it does not fit beside what was
// promised to others, or the group is there for something else.
std::optional<int> OfferPrefill(const GroupState& group, const KvNeed& need);

// Whether `a` is the better offer: the earlier first token counts, the more so the fuller the group, and
// twice for prompts computed on decode groups, whose outputs they hold up; of equals the group that joined
// first, and there the prompt computed on it, or else on the prefill group that joined first.
bool IsBetter(const Placement& a, const Placement& b);

}  // namespace longspan
