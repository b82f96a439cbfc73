#include "runtime/api/cluster_status.h"

#include <nlohmann/json.hpp>

namespace longspan {
namespace {

using nlohmann::ordered_json;

ordered_json RankStatus(const ServedModel& model, size_t rank, const KvRankSnapshot& kv) {
  ordered_json map = ordered_json::array();
  for (const PageRun& run : kv.map) map.push_back({run.owner, run.pages});
  return {{"rank", rank},
          {"host", model.hosts[rank]},
          {"page_bytes", model.page_bytes[rank]},
          {"capacity", kv.capacity},
          {"reserved", kv.reserved},
          {"in_use", kv.in_use},
          {"waste_ratio", kv.waste_ratio},
          {"map", std::move(map)}};
}

ordered_json RequestStatus(const SequenceSnapshot& sequence) {
  return {{"id", sequence.id},
          {"state", sequence.decoding ? "decoding" : "prefilling"},
          {"priority", sequence.priority},
          {"prompt_tokens", sequence.prompt_tokens},
          {"computed_tokens", sequence.computed_tokens},
          {"output_tokens", sequence.output_tokens},
          {"max_tokens", sequence.max_tokens},
          {"pages_in_use", sequence.pages_in_use},
          {"pages_reserved", sequence.pages_reserved}};
}

}  // namespace

std::string ClusterStatusBody(const ServedModel& model, const EngineSnapshot& snapshot) {
  ordered_json ranks = ordered_json::array(), requests = ordered_json::array();
  for (size_t rank = 0; rank < model.hosts.size(); ++rank) {
    ranks.push_back(RankStatus(model, rank, snapshot.ranks[rank % static_cast<size_t>(model.kvp)]));
  }
  for (const SequenceSnapshot& sequence : snapshot.sequences) requests.push_back(RequestStatus(sequence));
  const ordered_json body = {
      {"model", model.name},
      {"fingerprint", model.fingerprint},
      {"numerics", model.numerics},
      {"rank_invariant", model.rank_invariant},
      {"tp", model.tp},
      {"kvp", model.kvp},
      {"block_size", model.block_size},
      {"max_context", model.limits.max_context},
      {"steps", snapshot.steps},
      {"waiting", snapshot.waiting},
      {"waiting_prompt_tokens", snapshot.waiting_prompt_tokens},
      {"prefilling", snapshot.prefilling},
      {"decoding", snapshot.decoding},
      {"prefill_tokens_left", snapshot.prefill_tokens_left},
      {"prefill_tokens_total", snapshot.prefill_tokens_total},
      {"decode_tokens_total", snapshot.decode_tokens_total},
      {"prefill_tokens_per_s", snapshot.prefill_tokens_per_s},
      {"decode_step_s", snapshot.decode_step_s},
      {"expected_wait_s", model.loop->expected_wait_s()},
      {"ranks", std::move(ranks)},
      {"requests", std::move(requests)},
  };
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace longspan
