#include "runtime/api/metrics.h"

#include <mutex>
#include <utility>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

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
  prometheus::Family<prometheus::Gauge>& kv_blocks = Gauges(
      "kv_blocks", "Pages of KV by rank: in_use, reserved (promised to running requests, not in use), free.");
  prometheus::Family<prometheus::Gauge>& kv_bytes =
      Gauges("kv_bytes", "The same in bytes. All layer groups share one pool of pages.");
  prometheus::Family<prometheus::Gauge>& kv_waste =
      Gauges("kv_waste_ratio", "Part of the reserved pages that holds no token.");
  prometheus::Family<prometheus::Gauge>& headroom =
      Gauges("headroom_bytes", "KV that can still be promised, by rank.");
  prometheus::Family<prometheus::Counter>& comm_bytes =
      Counters("comm_bytes_total", "Bytes that rank 0 sent to other ranks.");
  prometheus::Family<prometheus::Counter>& comm_ops =
      Counters("comm_ops_total", "Collectives that rank 0 took part in.");
  prometheus::Family<prometheus::Counter>& comm_seconds =
      Counters("comm_seconds_total", "Time that rank 0 spent in them, transfer and waiting for other ranks.");
  std::mutex render_mutex;
};

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
void Metrics::ObserveEndToEnd(double seconds) { state_->e2e.Observe(seconds); }

void Metrics::SetComm(const CommCounters& counters) {
  for (size_t i = 0; i < counters.bytes.size(); ++i) {
    const std::string op(Name(static_cast<CommOp>(i)));
    State::Raise(state_->comm_bytes.Add({{"op", op}}), static_cast<double>(counters.bytes[i]));
    State::Raise(state_->comm_ops.Add({{"op", op}}), static_cast<double>(counters.operations[i]));
    State::Raise(state_->comm_seconds.Add({{"op", op}}), counters.seconds[i]);
  }
}

std::string Metrics::Render(const EngineSnapshot& snapshot, const std::vector<uint64_t>& page_bytes,
                            int kvp) {
  State& state = *state_;
  const std::lock_guard lock(state.render_mutex);
  state.queue_depth.Set(static_cast<double>(snapshot.waiting));
  state.running.Set(static_cast<double>(snapshot.prefilling + snapshot.decoding));
  State::Raise(state.prefill_tokens, static_cast<double>(snapshot.prefill_tokens_total));
  State::Raise(state.decode_tokens, static_cast<double>(snapshot.decode_tokens_total));
  State::Raise(state.prefill_seconds, snapshot.prefill_seconds_total);
  State::Raise(state.decode_seconds, snapshot.decode_seconds_total);
  State::Raise(state.preemptions, static_cast<double>(snapshot.preemptions_total));
  for (size_t r = 0; r < page_bytes.size(); ++r) {
    const KvRankSnapshot& kv = snapshot.ranks[r % static_cast<size_t>(kvp)];
    const std::string rank = absl::StrCat(r);
    const auto set = [&](const char* kv_state, int64_t pages) {
      state.kv_blocks.Add({{"rank", rank}, {"state", kv_state}}).Set(static_cast<double>(pages));
      state.kv_bytes.Add({{"rank", rank}, {"layer_group", "all"}, {"state", kv_state}})
          .Set(static_cast<double>(pages) * static_cast<double>(page_bytes[r]));
    };
    set("in_use", kv.in_use);
    set("reserved", kv.reserved - kv.in_use);
    set("free", kv.capacity - kv.reserved);
    state.kv_waste.Add({{"rank", rank}}).Set(kv.waste_ratio);
    state.headroom.Add({{"group", "0"}, {"rank", rank}})
        .Set(static_cast<double>(kv.capacity - kv.reserved) * static_cast<double>(page_bytes[r]));
  }
  return prometheus::TextSerializer().Serialize(state.registry.Collect());
}

}  // namespace longspan
