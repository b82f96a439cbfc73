#include "runtime/api/cluster_status.h"

#include <nlohmann/json.hpp>

namespace longspan {
namespace {

using nlohmann::ordered_json;

ordered_json RankStatus(const GroupView& group, size_t rank) {
  const KvRankSnapshot kv = group.KvOfRank(rank);
  ordered_json map = ordered_json::array();
  for (const PageRun& run : kv.map) map.push_back({run.owner, run.pages});
  return {{"rank", rank},
          {"host", group.description.hosts[rank]},
          {"page_bytes", group.description.page_bytes[rank]},
          {"capacity", kv.capacity},
          {"reserved", kv.reserved},
          {"in_use", kv.in_use},
          {"waste_ratio", kv.waste_ratio},
          {"map", std::move(map)}};
}

ordered_json RequestStatus(const SequenceSnapshot& sequence) {
  return {{"id", sequence.id},
          {"state", sequence.moving     ? "moving"
                    : sequence.decoding ? "decoding"
                                        : "prefilling"},
          {"priority", sequence.priority},
          {"prompt_tokens", sequence.prompt_tokens},
          {"computed_tokens", sequence.computed_tokens},
          {"output_tokens", sequence.output_tokens},
          {"max_tokens", sequence.max_tokens},
          {"pages_in_use", sequence.pages_in_use},
          {"pages_reserved", sequence.pages_reserved}};
}

ordered_json GroupJson(const GroupView& group, const EngineSnapshot& engine) {
  ordered_json ranks = ordered_json::array(), requests = ordered_json::array();
  for (size_t rank = 0; rank < group.description.hosts.size(); ++rank) {
    ranks.push_back(RankStatus(group, rank));
  }
  for (const SequenceSnapshot& sequence : engine.sequences) requests.push_back(RequestStatus(sequence));
  return {
      {"id", group.id},
      {"name", group.description.name},
      {"role", Name(group.description.role)},
      {"state", group.draining ? "draining" : "ready"},
      {"build", group.description.build},
      {"tp", group.description.tp},
      {"kvp", group.description.geometry.kvp},
      {"max_sequences", group.description.max_sequences},
      {"running", group.running},
      {"steps", engine.steps},
      {"prefilling", engine.prefilling},
      {"decoding", engine.decoding},
      {"prefill_tokens_left", engine.prefill_tokens_left},
      {"prefill_tokens_per_s", engine.prefill_tokens_per_s},
      {"decode_step_s", engine.decode_step_s},
      {"ranks", std::move(ranks)},
      {"requests", std::move(requests)},
  };
}

}  // namespace

std::string ClusterStatusBody(const ServedModel& model) {
  const ClusterView cluster = model.coordinator->view();
  const GroupIdentity identity = model.coordinator->identity();
  ordered_json groups = ordered_json::array();
  int64_t prefilling = 0, decoding = 0, prefill_tokens_left = 0;
  for (const GroupView& group : cluster.groups) {
    static const EngineSnapshot nothing;
    const EngineSnapshot& engine = group.told == nullptr ? nothing : group.told->engine;
    groups.push_back(GroupJson(group, engine));
    prefilling += engine.prefilling;
    decoding += engine.decoding;
    prefill_tokens_left += engine.prefill_tokens_left;
  }
  const GroupDescription* first = cluster.groups.empty() ? nullptr : &cluster.groups.front().description;
  const ordered_json body = {
      {"model", model.name},
      {"fingerprint", model.Fingerprint()},
      {"numerics", identity.numerics},
      {"rank_invariant", first != nullptr && first->rank_invariant},
      {"block_size", first == nullptr ? 0 : first->geometry.block_size},
      {"max_context", model.coordinator->limits().max_context},
      {"waiting", cluster.waiting},
      {"waiting_prompt_tokens", cluster.waiting_prompt_tokens},
      {"prefilling", prefilling},
      {"decoding", decoding},
      {"prefill_tokens_left", prefill_tokens_left},
      {"prefill_tokens_total", cluster.totals.prefill_tokens_total},
      {"decode_tokens_total", cluster.totals.decode_tokens_total},
      {"expected_wait_s", cluster.expected_wait_s},
      {"groups_lost_total", cluster.groups_lost_total},
      {"groups", std::move(groups)},
  };
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace longspan
