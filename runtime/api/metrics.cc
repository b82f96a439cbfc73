#include "runtime/api/metrics.h"

#include <mutex>
#include <set>
#include <utility>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"
#include "kvstore/piece_message.h"

namespace longspan {
namespace {

using GaugeFamily = prometheus::Family<prometheus::Gauge>;
using GroupGauge = std::pair<GaugeFamily*, prometheus::Gauge*>;
using Buckets = prometheus::Histogram::BucketBoundaries;

// Each about 1.5 times the last: a percentile read from them is within a quarter of the truth.
Buckets From(double least, double most) {
  Buckets buckets;
  for (double bound = least; bound < most; bound *= 1.5) buckets.push_back(bound);
  buckets.push_back(most);
  return buckets;
}

}  // namespace

struct Metrics::State {
  prometheus::Family<prometheus::Counter>& Counters(const std::string& name, const std::string& help) {
    return prometheus::BuildCounter().Name("longspan_" + name).Help(help).Register(registry);
  }
  prometheus::Family<prometheus::Gauge>& Gauges(const std::string& name, const std::string& help) {
    return prometheus::BuildGauge().Name("longspan_" + name).Help(help).Register(registry);
  }
  prometheus::Histogram& Histogram(const std::string& name, const std::string& help, const Buckets& buckets) {
    return prometheus::BuildHistogram()
        .Name("longspan_" + name)
        .Help(help)
        .Register(registry)
        .Add({}, buckets);
  }
  void ShowGroup(const GroupView& group, std::set<GroupGauge>* shown);
  static void Raise(prometheus::Counter& counter, double total) {
    if (total > counter.Value()) counter.Increment(total - counter.Value());
  }

  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      Counters("requests_total", "Calls that generate text, by how they ended.");
  prometheus::Histogram& queue =
      Histogram("queue_seconds", "From arrival to the start of the prompt.", From(0.001, 600));
  prometheus::Histogram& ttft =
      Histogram("ttft_seconds", "From arrival to the first token.", From(0.001, 600));
  prometheus::Histogram& itl = Histogram("itl_seconds", "Between two tokens of a choice.", From(0.0005, 60));
  prometheus::Histogram& e2e = Histogram("e2e_seconds", "From arrival to the end.", From(0.005, 3600));
  prometheus::Histogram& handoff = Histogram(
      "handoff_seconds", "Of a request whose prompt was computed elsewhere, until its KV had arrived.",
      From(0.001, 600));
  prometheus::Histogram& handoff_exposed =
      Histogram("handoff_exposed_seconds", "The part of it after the prompt was computed.", From(0.0005, 60));
  prometheus::Family<prometheus::Counter>& handoff_bytes =
      Counters("handoff_bytes_total",
               "KV that came from other groups: useful is what was wanted, moved what was sent for it.");
  prometheus::Family<prometheus::Counter>& handoffs =
      Counters("handoffs_total", "Requests whose KV was to come from another group.");
  prometheus::Family<prometheus::Counter>& refused_pieces =
      Counters("blocks_rejected_total",
               "Messages with KV that did not prove to be what was wanted, by what was wrong first.");
  prometheus::Gauge& queue_depth = Gauges("queue_depth", "Requests that wait.").Add({});
  prometheus::Gauge& running = Gauges("running_requests", "Requests that hold KV.").Add({});
  prometheus::Counter& prefill_tokens =
      Counters("prefill_tokens_total", "Tokens of prompts computed.").Add({});
  prometheus::Counter& decode_tokens = Counters("decode_tokens_total", "Tokens generated.").Add({});
  prometheus::Counter& prefill_seconds =
      Counters("prefill_seconds_total", "Time of steps that went to prompts.").Add({});
  prometheus::Counter& decode_seconds =
      Counters("decode_seconds_total", "Time of steps that went to generating.").Add({});
  prometheus::Counter& cached_tokens =
      Counters("cached_tokens_total", "Tokens of prompts whose KV was there already.").Add({});
  prometheus::Counter& preemptions =
      Counters("preemptions_total", "Requests that gave way to one of higher priority.").Add({});
  prometheus::Counter& restarts =
      Counters("group_restarts_total", "Groups that joined again after they were lost.").Add({});
  prometheus::Family<prometheus::Counter>& recomputed =
      Counters("recomputed_tokens_total", "Tokens whose KV was given up and computed again.");
  GaugeFamily& kv_blocks = Gauges(
      "kv_blocks", "Pages of KV by rank: in_use, reserved (promised to running requests, not in use), free.");
  GaugeFamily& kv_bytes = Gauges("kv_bytes", "The same in bytes. All layer groups share one pool of pages.");
  GaugeFamily& kv_waste = Gauges("kv_waste_ratio", "Part of the reserved pages that holds no token.");
  GaugeFamily& headroom = Gauges("headroom_bytes", "KV that can still be promised, by rank.");
  prometheus::Family<prometheus::Counter>& comm_bytes =
      Counters("comm_bytes_total", "Bytes that rank 0 of each group sent to its other ranks.");
  prometheus::Family<prometheus::Counter>& comm_ops =
      Counters("comm_ops_total", "Collectives that rank 0 of each group took part in.");
  prometheus::Family<prometheus::Counter>& comm_seconds =
      Counters("comm_seconds_total", "Time that rank 0 spent in them, transfer and waiting for other ranks.");
  std::mutex render_mutex;
  std::set<GroupGauge> group_gauges;  // of the groups that were there at the last rendering
};

void Metrics::State::ShowGroup(const GroupView& group, std::set<GroupGauge>* shown) {
  const std::string id = absl::StrCat(group.id);
  for (size_t r = 0; r < group.description.page_bytes.size(); ++r) {
    const KvRankSnapshot kv = group.KvOfRank(r);
    const std::string rank = absl::StrCat(r);
    const auto page_bytes = static_cast<double>(group.description.page_bytes[r]);
    const auto set = [&](GaugeFamily& family, prometheus::Labels labels, double value) {
      labels.insert({{"group", id}, {"rank", rank}});
      prometheus::Gauge& gauge = family.Add(labels);
      gauge.Set(value);
      shown->insert({&family, &gauge});
    };
    const auto set_pages = [&](const char* kv_state, int64_t pages) {
      set(kv_blocks, {{"state", kv_state}}, static_cast<double>(pages));
      set(kv_bytes, {{"layer_group", "all"}, {"state", kv_state}}, static_cast<double>(pages) * page_bytes);
    };
    set_pages("in_use", kv.in_use);
    set_pages("reserved", kv.reserved - kv.in_use);
    set_pages("free", kv.capacity - kv.reserved);
    set(kv_waste, {}, kv.waste_ratio);
    set(headroom, {}, static_cast<double>(kv.capacity - kv.reserved) * page_bytes);
  }
}

Metrics::Metrics() : state_(std::make_unique<State>()) {
  for (const char* outcome :
       {"stop", "length", "tool_calls", "cancelled", "deadline", "error", "rejected", "invalid"}) {
    state_->requests.Add({{"outcome", outcome}});
  }
}
Metrics::~Metrics() = default;

void Metrics::CountRequest(std::string_view outcome) {
  state_->requests.Add({{"outcome", std::string(outcome)}}).Increment();
}
void Metrics::ObserveQueue(double seconds) { state_->queue.Observe(seconds); }
void Metrics::ObserveFirstToken(double seconds) { state_->ttft.Observe(seconds); }
void Metrics::ObserveGap(double seconds) { state_->itl.Observe(seconds); }
void Metrics::ObserveHandoff(const KvArrival& arrival) {
  state_->handoff.Observe(arrival.seconds);
  state_->handoff_exposed.Observe(arrival.exposed_seconds);
}
void Metrics::ObserveEndToEnd(double seconds) { state_->e2e.Observe(seconds); }

std::string Metrics::Render(const ClusterView& cluster) {
  State& state = *state_;
  const std::lock_guard lock(state.render_mutex);
  state.queue_depth.Set(static_cast<double>(cluster.waiting));
  State::Raise(state.prefill_tokens, static_cast<double>(cluster.totals.prefill_tokens_total));
  State::Raise(state.decode_tokens, static_cast<double>(cluster.totals.decode_tokens_total));
  State::Raise(state.prefill_seconds, cluster.totals.prefill_seconds_total);
  State::Raise(state.decode_seconds, cluster.totals.decode_seconds_total);
  State::Raise(state.preemptions, static_cast<double>(cluster.preemptions_total));
  State::Raise(state.restarts, static_cast<double>(cluster.group_restarts_total));
  State::Raise(state.recomputed.Add({{"reason", "preemption"}}),
               static_cast<double>(cluster.recomputed_after_preemption_total));
  State::Raise(state.recomputed.Add({{"reason", "group_lost"}}),
               static_cast<double>(cluster.recomputed_after_loss_total));
  const EngineTotals& totals = cluster.totals;
  const auto raise = [](prometheus::Family<prometheus::Counter>& family, const prometheus::Labels& labels,
                        int64_t total) { State::Raise(family.Add(labels), static_cast<double>(total)); };
  raise(state.recomputed, {{"reason", "handoff"}}, totals.recomputed_tokens_total);
  raise(state.handoff_bytes, {{"kind", "useful"}}, totals.handoff_useful_bytes);
  raise(state.handoff_bytes, {{"kind", "moved"}}, totals.handoff_moved_bytes);
  raise(state.handoffs, {{"outcome", "complete"}}, totals.handoffs_total);
  raise(state.handoffs, {{"outcome", "given_up"}}, totals.handoffs_given_up_total);
  for (size_t i = 0; i < totals.handoff_refused_pieces.size(); ++i) {
    const std::string reason(PieceRejectionName(static_cast<PieceRejection>(i)));
    raise(state.refused_pieces, {{"reason", reason}}, totals.handoff_refused_pieces[i]);
  }
  for (size_t i = 0; i < cluster.comm.bytes.size(); ++i) {
    const std::string op(Name(static_cast<CommOp>(i)));
    State::Raise(state.comm_bytes.Add({{"op", op}}), static_cast<double>(cluster.comm.bytes[i]));
    State::Raise(state.comm_ops.Add({{"op", op}}), static_cast<double>(cluster.comm.operations[i]));
    State::Raise(state.comm_seconds.Add({{"op", op}}), cluster.comm.seconds[i]);
  }
  int64_t running = 0;
  std::set<GroupGauge> shown;
  for (const GroupView& group : cluster.groups) {
    running += group.running;
    state.ShowGroup(group, &shown);
  }
  state.running.Set(static_cast<double>(running));
  // Of groups that are no longer there.
  for (const auto& [family, gauge] : state.group_gauges) {
    if (!shown.contains({family, gauge})) family->Remove(gauge);
  }
  state.group_gauges = std::move(shown);
  return prometheus::TextSerializer().Serialize(state.registry.Collect());
}

}  // namespace longspan
