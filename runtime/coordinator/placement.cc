#include "runtime/coordinator/placement.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "kvstore/shard_map.h"

namespace longspan {
namespace {

double Cost(const Placement& offer) {
  return offer.expected_first_token_s * (1 + offer.fullness) *
         (offer.role == GroupRole::kDecode && offer.prefill_group == 0 ? 2 : 1);
}

}  // namespace

GroupState::GroupState(GroupDescription group) : description(std::move(group)), store(description.geometry) {
  for (const bool prompt_logits : {false, true}) {
    largest_context_[prompt_logits ? 1 : 0] =
        store.LargestContext(Need(1, prompt_logits).chunk_tokens, description.max_context);
  }
}

int64_t GroupState::LargestContextNow(bool prompt_logits,
                                      std::span<const std::span<const int64_t>> without) const {
  if (draining || !runs_whole_requests()) return 0;
  if (free_slots() + static_cast<int64_t>(without.size()) < 1) return 0;
  Reservations left = store;
  for (const std::span<const int64_t> pages : without) left.Release(pages);
  return left.LargestContext(Need(1, prompt_logits).chunk_tokens, LargestContext(prompt_logits));
}

ServiceRates GroupState::Rates(const ServiceRates& usual) const {
  return {measured.prefill_tokens_per_s > 0 ? measured.prefill_tokens_per_s : usual.prefill_tokens_per_s,
          measured.decode_step_s > 0 ? measured.decode_step_s : usual.decode_step_s};
}

ServiceRates UsualRates(std::span<const ServiceRates> measured) {
  const auto mean = [measured](double ServiceRates::*rate, double made_up) {
    double sum = 0;
    int count = 0;
    for (const ServiceRates& rates : measured) {
      if (!(rates.*rate > 0)) continue;
      sum += rates.*rate;
      ++count;
    }
    return count > 0 ? sum / count : made_up;
  };
  // Only how groups compare matters where nobody has measured.
  return {mean(&ServiceRates::prefill_tokens_per_s, 1000), mean(&ServiceRates::decode_step_s, 0.05)};
}

double PrefillSeconds(const GroupState& group, int64_t prompt_tokens, const ServiceRates& rates) {
  return static_cast<double>(group.prefill_tokens_left + prompt_tokens) / rates.prefill_tokens_per_s;
}

std::optional<Placement> Offer(GroupId id, const GroupState& group, const KvNeed& need, int64_t prompt_tokens,
                               const ServiceRates& rates) {
  if (group.draining || !group.runs_whole_requests() || group.free_slots() < 1) return std::nullopt;
  if (need.total_tokens > group.description.max_context) return std::nullopt;
  Placement offer{.group = id, .role = group.description.role};
  offer.shift = group.store.ChooseShift(need);
  const std::vector<int64_t> demand = KvDemand(group.store.geometry(), need, offer.shift);
  offer.fullness =
      static_cast<double>(group.running + 1) / static_cast<double>(group.description.max_sequences);
  for (int k = 0; k < group.store.geometry().kvp; ++k) {
    const int64_t taken = group.store.reserved(k) + demand[static_cast<size_t>(k)];
    if (taken > group.store.capacity(k)) return std::nullopt;
    offer.fullness =
        std::max(offer.fullness, static_cast<double>(taken) / static_cast<double>(group.store.capacity(k)));
  }
  offer.expected_first_token_s = PrefillSeconds(group, prompt_tokens, rates);
  return offer;
}

std::optional<int> OfferPrefill(const GroupState& group, const KvNeed& need) {
  if (group.draining || group.description.role != GroupRole::kPrefill || group.free_slots() < 1) {
    return std::nullopt;
  }
  if (need.total_tokens > group.description.max_context) return std::nullopt;
  const int shift = group.store.ChooseShift(need);
  if (!group.store.CanReserve(need, shift)) return std::nullopt;
  return shift;
}

bool IsBetter(const Placement& a, const Placement& b) {
  return std::tuple(Cost(a), a.group, a.prefill_group) < std::tuple(Cost(b), b.group, b.prefill_group);
}

}  // namespace longspan
