#include "runtime/engine/group.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kvstore/kv_format.h"
#include "kvstore/kv_geometry.h"
#include "runtime/engine/worker.h"
#include "runtime/model/decoder.h"

namespace longspan {
namespace {

constexpr double kDefaultKvShare = 0.6;  // of the memory that is free after loading
constexpr int64_t kMaxLogitBytes = int64_t{64}
                                   << 20;  // logits of one step on one rank, unless one row takes more

// Control messages from rank 0: one letter, then what it needs.
constexpr char kStep = 'S', kReport = 'R', kShutdown = 'Q';

// What the record hears of.
constexpr char kHandingOut[] = "broadcast of the batch", kBetweenSteps[] = "between steps";

// Memory that the system says can be had without swapping; 0 when it does not say.
uint64_t AvailableBytes() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    uint64_t kib = 0;
    if (word == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return 0;
}

template <typename T>
std::string ToBlob(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
absl::StatusOr<std::vector<T>> FromBlobs(const std::vector<std::string>& blobs) {
  std::vector<T> values(blobs.size());
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (blobs[i].size() != sizeof(T)) return absl::InternalError("a rank sent a message of wrong size");
    std::memcpy(&values[i], blobs[i].data(), sizeof(T));
  }
  return values;
}

struct RankReport {
  uint64_t weight_bytes = 0, kv_bytes = 0, comm_bytes = 0, comm_operations = 0;
};

class ShardedGroup final : public Group {
 public:
  ShardedGroup(const ModelSource& source, Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator,
               Backend& backend, const GroupOptions& options)
      : config_(source.config()),
        bootstrap_(bootstrap),
        communicator_(std::move(communicator)),
        backend_(backend),
        options_(options),
        record_(options.record == nullptr ? own_record_ : *options.record),
        plan_(PlanShard(config_, options.tp, options.kvp, bootstrap.rank())) {}

  ~ShardedGroup() override {
    // A group that is already broken cannot be told; its other ranks see the loss themselves.
    Shutdown().IgnoreError();
  }

  absl::Status Load(const ModelSource& source);

  const GroupOptions& options() const override { return options_; }
  const KvGeometry& geometry() const override { return geometry_; }
  std::span<std::byte> kv_memory() override { return {worker_->kv_pages(), worker_->kv_bytes()}; }

  absl::StatusOr<std::span<const float>> Execute(const StepBatch& batch) override {
    record_.BeginStep(kHandingOut);
    if (bootstrap_.size() > 1) {
      message_.assign(1, kStep);
      batch.AppendTo(&message_);
      if (absl::Status s = bootstrap_.Broadcast(&message_, /*root=*/0); !s.ok()) return s;
    }
    absl::StatusOr<std::span<const float>> logits = worker_->Run(batch);
    if (logits.ok()) record_.Rest(kBetweenSteps);
    return logits;
  }

  int host_threads() const override { return backend_.threads(); }
  void HostFor(int64_t count, absl::FunctionRef<void(int64_t, int)> body) override {
    backend_.HostFor(count, body);
  }

  void SetOnKvArrival(HandoffAgent::OnArrival on_arrival) override {
    if (agent_ != nullptr) agent_->SetOnArrival(std::move(on_arrival));
  }

  absl::Status Serve() override;
  CommCounters comm_counters() const override {
    CommCounters sum;
    for (const Communicator* c : {communicator_.get(), kvp_communicator_.get()}) {
      if (c != nullptr) sum += c->counters();
    }
    return sum;
  }
  absl::StatusOr<GroupReport> Report() override {
    if (absl::Status s = Send(kReport); !s.ok()) return s;
    absl::StatusOr<GroupReport> report = GatherReport();
    if (report.ok()) record_.Rest(kBetweenSteps);
    return report;
  }
  absl::Status Shutdown() override {
    if (bootstrap_.rank() != 0 || worker_ == nullptr || ended_) return absl::OkStatus();
    ended_ = true;
    SetOnKvArrival({});
    return Send(kShutdown);
  }

 private:
  absl::Status Send(char kind) {
    if (bootstrap_.size() == 1) return absl::OkStatus();
    message_.assign(1, kind);
    return bootstrap_.Broadcast(&message_, /*root=*/0);
  }
  absl::StatusOr<GroupReport> GatherReport();
  absl::StatusOr<int64_t> AgreeOnPages(size_t page_bytes);
  int64_t PagesForAll() const;
  absl::Status StartAgent();

  const ModelConfig config_;
  Bootstrap& bootstrap_;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<Communicator> kvp_communicator_;
  Backend& backend_;
  GroupOptions options_;
  ProgressRecord own_record_;  // where the options have none
  ProgressRecord& record_;
  const ShardPlan plan_;
  KvGeometry geometry_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Worker> worker_;
  std::vector<std::string> transport_addresses_;
  std::unique_ptr<HandoffAgent> agent_;  // null: the group stands alone
  std::string message_;                  // from rank 0 to the others
  bool ended_ = false;
};

// Pages of one rank that max_sequences sequences of max_context can use at most: more would lie idle.
int64_t ShardedGroup::PagesForAll() const {
  int64_t most = 0;
  for (int64_t pages : KvDemand(geometry_, {options_.max_context, options_.max_batch_tokens}, /*shift=*/0)) {
    most = std::max(most, pages);
  }
  return most * options_.max_sequences;
}

// Decides this rank's share of the memory and tells everybody; fills geometry_.pages_per_rank.
absl::StatusOr<int64_t> ShardedGroup::AgreeOnPages(size_t page_bytes) {
  uint64_t budget = options_.kv_bytes;
  if (budget == 0) {
    absl::StatusOr<std::vector<std::string>> hosts = bootstrap_.AllGather(bootstrap_.host());
    if (!hosts.ok()) return hosts.status();
    const auto on_this_host =
        static_cast<uint64_t>(std::count(hosts->begin(), hosts->end(), bootstrap_.host()));
    const uint64_t available = AvailableBytes();
    if (available == 0) {
      return absl::FailedPreconditionError("cannot tell how much memory is free; set --kv-bytes");
    }
    budget = static_cast<uint64_t>(kDefaultKvShare * static_cast<double>(available)) / on_this_host;
    budget = std::min<uint64_t>(budget, static_cast<uint64_t>(PagesForAll()) * page_bytes);
  }
  absl::StatusOr<std::vector<std::string>> blobs = bootstrap_.AllGather(ToBlob(budget / page_bytes));
  if (!blobs.ok()) return blobs.status();
  absl::StatusOr<std::vector<uint64_t>> pages = FromBlobs<uint64_t>(*blobs);
  if (!pages.ok()) return pages.status();
  geometry_.pages_per_rank.assign(static_cast<size_t>(plan_.kvp), INT64_MAX);
  for (size_t r = 0; r < pages->size(); ++r) {
    int64_t& capacity = geometry_.pages_per_rank[r % static_cast<size_t>(plan_.kvp)];
    capacity = std::min(capacity, static_cast<int64_t>((*pages)[r]));
  }
  const int64_t mine = geometry_.pages_per_rank[static_cast<size_t>(plan_.kvp_rank())];
  if (mine < 1) {
    return absl::InvalidArgumentError(absl::StrCat("KV budget of ", budget, " bytes a rank holds no page of ",
                                                   page_bytes,
                                                   " bytes; raise --kv-bytes or lower --block-size"));
  }
  return mine;
}

absl::Status ShardedGroup::Load(const ModelSource& source) {
  LONGSPAN_CHECK(plan_.ranks() == bootstrap_.size() && communicator_->size() == bootstrap_.size());
  record_.Load("weights", 0);
  if (options_.max_context == 0) options_.max_context = config_.max_context;
  if (plan_.kvp > 1) {
    absl::StatusOr<std::unique_ptr<Communicator>> kvp =
        communicator_->Split(plan_.tp_rank(), plan_.kvp_rank());
    if (!kvp.ok()) return kvp.status();
    kvp_communicator_ = *std::move(kvp);
  }

  std::vector<int> layer_counts;
  for (const LayerGroupConfig& group : config_.groups) {
    layer_counts.push_back(static_cast<int>(group.layers.size()));
  }
  const int layers_per_page = LayersPerPage(layer_counts);
  geometry_.block_size = options_.numerics.block_size;
  geometry_.kvp = plan_.kvp;
  for (const LayerGroupConfig& group : config_.groups) {
    geometry_.groups.push_back({group.window, static_cast<int>(group.layers.size()) / layers_per_page});
  }

  DecoderOptions decoder_options;
  decoder_options.record = &record_;
  decoder_options.kv_layout = {options_.numerics.block_size, config_.head_dim, plan_.kv_heads,
                               options_.numerics.kv_dtype};
  decoder_options.layers_per_page = layers_per_page;
  decoder_options.max_rows = options_.max_batch_tokens;
  const int64_t logit_row_bytes = config_.vocab_size * static_cast<int64_t>(sizeof(float));
  options_.max_logit_rows = std::clamp<int64_t>(kMaxLogitBytes / logit_row_bytes, options_.max_sequences,
                                                options_.max_batch_tokens);
  decoder_options.max_logits = options_.max_logit_rows;
  decoder_options.max_split_rows = Worker::MaxSplitRows(config_, plan_, backend_.threads());
  absl::StatusOr<std::unique_ptr<Decoder>> decoder =
      Decoder::Create(source, plan_, backend_, *communicator_, kvp_communicator_.get(), decoder_options,
                      [this](double fraction) {
                        record_.Load("weights", fraction);
                        if (options_.progress) options_.progress(fraction);
                      });
  if (!decoder.ok()) return decoder.status();
  decoder_ = *std::move(decoder);
  // Memory is looked at when every rank of the host holds its weights.
  record_.Load("waiting for all ranks", 1);
  if (absl::Status s = bootstrap_.Barrier(); !s.ok()) return s;

  absl::StatusOr<int64_t> pages = AgreeOnPages(PageBytes(decoder_options.kv_layout, layers_per_page));
  if (!pages.ok()) return pages.status();
  WorkerOptions worker_options;
  worker_options.record = &record_;
  worker_options.kv_layout = decoder_options.kv_layout;
  worker_options.layers_per_page = decoder_options.layers_per_page;
  worker_options.num_pages = *pages;
  absl::StatusOr<std::unique_ptr<Worker>> worker =
      Worker::Create(config_, plan_, *decoder_, backend_, worker_options);
  if (!worker.ok()) return worker.status();
  worker_ = *std::move(worker);
  if (options_.create_transport) {
    if (absl::Status s = StartAgent(); !s.ok()) return s;
  }
  record_.Rest("the model is loaded");
  return absl::OkStatus();
}

absl::Status ShardedGroup::StartAgent() {
  static const SteadyClock clock;
  absl::StatusOr<std::unique_ptr<Transport>> transport = options_.create_transport();
  if (!transport.ok()) return transport.status();
  absl::StatusOr<std::vector<std::string>> addresses = bootstrap_.AllGather((*transport)->address());
  if (!addresses.ok()) return addresses.status();
  transport_addresses_ = *std::move(addresses);
  HandoffAgent::Options agent;
  agent.shape.block_size = options_.numerics.block_size;
  agent.shape.kv_heads = config_.num_kv_heads;
  agent.shape.head_dim = config_.head_dim;
  agent.shape.dtype = options_.numerics.kv_dtype;
  for (const LayerGroupConfig& group : config_.groups) {
    agent.shape.groups.push_back({static_cast<int>(group.layers.size()), group.window});
  }
  agent.grid = {plan_.tp, plan_.kvp};
  agent.rank = plan_.rank;
  agent.pages = worker_->LocalPages();
  agent.addresses = transport_addresses_;
  agent.patience = options_.handoff_patience;
  agent_ = std::make_unique<HandoffAgent>(*std::move(transport), std::move(agent), clock);
  worker_->SetHandoffAgent(agent_.get());
  return absl::OkStatus();
}

absl::StatusOr<GroupReport> ShardedGroup::GatherReport() {
  record_.Rest("all-gather of the counters");
  RankReport mine;
  mine.weight_bytes = decoder_->weight_bytes();
  mine.kv_bytes = worker_->kv_bytes();
  mine.comm_bytes = comm_counters().TotalBytes();
  mine.comm_operations = comm_counters().TotalOperations();
  absl::StatusOr<std::vector<std::string>> blobs = bootstrap_.AllGather(ToBlob(mine));
  if (!blobs.ok()) return blobs.status();
  absl::StatusOr<std::vector<RankReport>> reports = FromBlobs<RankReport>(*blobs);
  if (!reports.ok()) return reports.status();
  absl::StatusOr<std::vector<std::string>> hosts = bootstrap_.AllGather(bootstrap_.host());
  if (!hosts.ok()) return hosts.status();
  GroupReport report;
  report.tp = plan_.tp;
  report.kvp = plan_.kvp;
  report.hosts = *std::move(hosts);
  report.transport_addresses = transport_addresses_;
  for (const RankReport& r : *reports) {
    report.weight_bytes.push_back(r.weight_bytes);
    report.kv_bytes.push_back(r.kv_bytes);
    report.comm_bytes.push_back(r.comm_bytes);
    report.comm_operations.push_back(r.comm_operations);
  }
  return report;
}

absl::Status ShardedGroup::Serve() {
  LONGSPAN_CHECK(bootstrap_.rank() != 0);
  for (;;) {
    record_.Rest("waiting for a batch");
    if (absl::Status s = bootstrap_.Broadcast(&message_, /*root=*/0); !s.ok()) return s;
    const char kind = message_.empty() ? '\0' : message_[0];
    if (kind == kShutdown) return absl::OkStatus();
    if (kind == kReport) {
      if (absl::StatusOr<GroupReport> report = GatherReport(); !report.ok()) return report.status();
      continue;
    }
    if (kind != kStep) return absl::InternalError("rank 0 sent a message of unknown kind");
    record_.BeginStep(kHandingOut);
    absl::StatusOr<StepBatch> batch = StepBatch::Parse(std::string_view(message_).substr(1));
    if (!batch.ok()) return batch.status();
    absl::StatusOr<std::span<const float>> logits = worker_->Run(*batch);
    if (!logits.ok()) return logits.status();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Group>> Group::Create(const ModelSource& source, Bootstrap& bootstrap,
                                                     std::unique_ptr<Communicator> communicator,
                                                     Backend& backend, const GroupOptions& options) {
  auto group = std::make_unique<ShardedGroup>(source, bootstrap, std::move(communicator), backend, options);
  if (absl::Status s = group->Load(source); !s.ok()) return s;
  return group;
}

}  // namespace longspan
