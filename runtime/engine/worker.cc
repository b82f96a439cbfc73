#include "runtime/engine/worker.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kvstore/kv_format.h"
#include "kvstore/kv_geometry.h"
#include "kvstore/shard_map.h"

namespace longspan {

int64_t Worker::MaxSplitRows(const ModelConfig& config, const ShardPlan& plan, int threads) {
  return MinItems(plan.kv_heads, threads) * MaxTileRows(plan.heads / plan.kv_heads);
}

Worker::Worker(const ModelConfig& config, const ShardPlan& plan, Decoder& decoder, Backend& backend,
               const WorkerOptions& options)
    : config_(config), plan_(plan), decoder_(decoder), backend_(backend), options_(options) {
  for (const LayerGroupConfig& group : config.groups) {
    const int half = config.head_dim / 2;
    std::vector<double> frequencies;
    for (int i = 0; i < half; ++i) {
      const double divisor =
          group.rope.frequency_divisors.empty() ? 1.0 : group.rope.frequency_divisors[static_cast<size_t>(i)];
      frequencies.push_back(std::pow(group.rope.base, -2.0 * i / config.head_dim) / divisor);
    }
    inverse_frequencies_.push_back(std::move(frequencies));
  }
  group_places_.resize(config.groups.size());
}

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(const ModelConfig& config, const ShardPlan& plan,
                                                       Decoder& decoder, Backend& backend,
                                                       const WorkerOptions& options) {
  auto worker = std::unique_ptr<Worker>(new Worker(config, plan, decoder, backend, options));
  const size_t page_bytes = PageBytes(options.kv_layout, options.layers_per_page);
  absl::StatusOr<DeviceBuffer> pages =
      backend.device().Allocate(page_bytes * static_cast<size_t>(options.num_pages));
  if (!pages.ok()) return pages.status();
  worker->kv_pages_ = *std::move(pages);
  worker->stream_ = backend.device().NewStream();
  return worker;
}

int Worker::PagesPerBlock(size_t group) const {
  return static_cast<int>(config_.groups[group].layers.size()) / options_.layers_per_page;
}

absl::Status Worker::ApplyBlocks(const BatchSequence& sequence) {
  if (sequence.slot < 0 || sequence.first_live_blocks.size() != config_.groups.size()) {
    return absl::InternalError(absl::StrCat("batch names slot ", sequence.slot, " with ",
                                            sequence.first_live_blocks.size(), " layer groups"));
  }
  const size_t index = static_cast<size_t>(sequence.slot);
  if (slots_.size() <= index) slots_.resize(index + 1);
  Slot& slot = slots_[index];
  if (sequence.starts) {
    slot.shift = sequence.shift;
    slot.groups.assign(config_.groups.size(), {});
    slot.told_blocks = 0;
  }
  for (const BlockGrant& grant : sequence.grants) {
    if (BlockOwner(grant.block_index, slot.shift, plan_.kvp) != plan_.kvp_rank()) continue;
    LocalBlocks& local = slot.groups[static_cast<size_t>(grant.layer_group)];
    local.indices.push_back(grant.block_index);
    local.pages.insert(local.pages.end(), grant.pages.begin(), grant.pages.end());
  }
  for (size_t g = 0; g < slot.groups.size(); ++g) {
    LocalBlocks& local = slot.groups[g];
    const auto live =
        std::lower_bound(local.indices.begin(), local.indices.end(), sequence.first_live_blocks[g]);
    const int64_t dead = live - local.indices.begin();
    local.indices.erase(local.indices.begin(), live);
    local.pages.erase(local.pages.begin(), local.pages.begin() + dead * PagesPerBlock(g));
  }
  return absl::OkStatus();
}

KvPages Worker::LocalPages() const {
  return {.base = kv_pages_.data(),
          .num_pages = options_.num_pages,
          .layers_per_page = options_.layers_per_page,
          .heads = HeadsOf(plan_.tp_rank(), plan_.tp, config_.num_kv_heads),
          .layout = options_.kv_layout};
}

BlockPages Worker::PagesOf(const Slot& slot, int64_t begin) const {
  BlockPages pages;
  for (size_t g = 0; g < slot.groups.size(); ++g) {
    const LocalBlocks& local = slot.groups[g];
    const auto per_block = static_cast<size_t>(PagesPerBlock(g));
    const auto from = std::lower_bound(local.indices.begin(), local.indices.end(), begin);
    for (auto i = static_cast<size_t>(from - local.indices.begin()); i < local.indices.size(); ++i) {
      const auto first = local.pages.begin() + static_cast<ptrdiff_t>(i * per_block);
      pages[{static_cast<int>(g), local.indices[i]}] = {first, first + static_cast<ptrdiff_t>(per_block)};
    }
  }
  return pages;
}

absl::Status Worker::ApplyOrder(const KvOrder& order) {
  if (agent_ == nullptr) return absl::InternalError("a handoff in a group that stands alone");
  const auto slot = static_cast<size_t>(order.slot);
  switch (order.kind) {
    case KvOrder::Kind::kReceive: {
      BatchSequence blocks;
      blocks.slot = order.slot;
      blocks.starts = true;
      blocks.shift = order.shift;
      blocks.grants = order.grants;
      blocks.first_live_blocks = order.first_live_blocks;
      if (absl::Status status = ApplyBlocks(blocks); !status.ok()) return status;
      agent_->Receive(order, PagesOf(slots_[slot], 0));
      break;
    }
    case KvOrder::Kind::kSend:
      if (slots_.size() <= slot) slots_.resize(slot + 1);
      slots_[slot] = {};
      slots_[slot].sends_to = order.peer.handoff;
      agent_->Send(order);
      break;
    case KvOrder::Kind::kSourceDone:
      agent_->SourceDone(order.peer.handoff);
      break;
    case KvOrder::Kind::kClose:
      if (slot < slots_.size() && slots_[slot].sends_to == order.peer.handoff) slots_[slot].sends_to.reset();
      agent_->Close(order.peer.handoff);
      break;
  }
  return absl::OkStatus();
}

void Worker::TellComputed(const StepBatch& batch) {
  for (const BatchSequence& s : batch.sequences) {
    Slot& slot = slots_[static_cast<size_t>(s.slot)];
    if (!slot.sends_to) continue;
    const int64_t computed = s.first_position + static_cast<int64_t>(s.tokens.size());
    agent_->Computed(*slot.sends_to, computed, PagesOf(slot, slot.told_blocks));
    slot.told_blocks = BlocksFor(computed, options_.kv_layout.block_size);
  }
}

absl::Status Worker::CollectRows(const StepBatch& batch) {
  rows_.tokens.clear();
  rows_.shifts.clear();
  rows_.positions.clear();
  rows_.logit_rows.clear();
  for (const BatchSequence& s : batch.sequences) {
    if (absl::Status status = ApplyBlocks(s); !status.ok()) return status;
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      if (s.logits == LogitRows::kAll || (s.logits == LogitRows::kLast && i + 1 == s.tokens.size())) {
        rows_.logit_rows.push_back(static_cast<int32_t>(rows_.tokens.size()));
      }
      rows_.tokens.push_back(s.tokens[i]);
      rows_.positions.push_back(s.first_position + static_cast<int64_t>(i));
      rows_.shifts.push_back(slots_[static_cast<size_t>(s.slot)].shift);
    }
  }
  return absl::OkStatus();
}

// Tokens of this rank's rows of the vocabulary, and where the rows of all ranks go in the batch.
void Worker::StageEmbedding() {
  const std::vector<int32_t>& tokens = rows_.tokens;
  rows_.local_ids.clear();
  rows_.order.clear();
  input_.ids_by_rank.clear();
  for (const Range& range : plan_.vocab) {
    const size_t before = rows_.order.size();
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < range.begin || tokens[i] >= range.end) continue;
      rows_.order.push_back(static_cast<int32_t>(i));
      if (&range == &plan_.vocab[static_cast<size_t>(plan_.rank)]) {
        rows_.local_ids.push_back(static_cast<int32_t>(tokens[i] - range.begin));
      }
    }
    input_.ids_by_rank.push_back(static_cast<int64_t>(rows_.order.size() - before));
  }
  LONGSPAN_CHECK(rows_.order.size() == tokens.size());
  ids_place_ = staging_.Append(rows_.local_ids);
  order_place_ = staging_.Append(rows_.order);
}

void Worker::StageGroup(const StepBatch& batch, size_t group) {
  // Angles in float64: at a million tokens a float32 angle is off by hundredths of a radian.
  const std::vector<double>& frequencies = inverse_frequencies_[group];
  const double magnitude = config_.groups[group].rope.magnitude;
  cosines_.clear();
  sines_.clear();
  for (int64_t position : rows_.positions) {
    for (double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      cosines_.push_back(static_cast<float>(magnitude * std::cos(angle)));
      sines_.push_back(static_cast<float>(magnitude * std::sin(angle)));
    }
  }

  AttentionPlanOptions plan_options;
  plan_options.block_size = options_.kv_layout.block_size;
  plan_options.window = config_.groups[group].window;
  plan_options.ways = plan_.class_ways;
  plan_options.kvp = plan_.kvp;
  plan_options.pages_per_block = PagesPerBlock(group);
  plan_options.max_tile_rows = MaxTileRows(plan_.heads / plan_.kv_heads);
  plan_options.min_items = MinItems(plan_.kv_heads, backend_.threads());
  attention_sequences_.clear();
  int64_t row = 0;
  for (const BatchSequence& s : batch.sequences) {
    const Slot& slot = slots_[static_cast<size_t>(s.slot)];
    AttentionSequence sequence;
    sequence.first_row = row;
    sequence.rows = static_cast<int64_t>(s.tokens.size());
    sequence.first_position = s.first_position;
    sequence.block_indices = slot.groups[group].indices;
    sequence.pages = slot.groups[group].pages;
    sequence.residue = BlockResidue(plan_.kvp_rank(), slot.shift, plan_.kvp);
    attention_sequences_.push_back(sequence);
    row += sequence.rows;
  }
  AttentionPlan& plan = attention_plan_;
  PlanAttention(attention_sequences_, row, plan_options, &plan);
  GroupPlaces& places = group_places_[group];
  places.cosines = staging_.Append(cosines_);
  places.sines = staging_.Append(sines_);
  places.blocks = staging_.Append(plan.blocks);
  places.pages = staging_.Append(plan.pages);
  places.classes = staging_.Append(plan.classes);
  places.items = staging_.Append(plan.items);
  places.slots = staging_.Append(plan.slots);
  places.num_items = static_cast<int64_t>(plan.items.size());
  places.splits = plan.splits;
}

void Worker::FillInput() {
  input_.rows = static_cast<int64_t>(rows_.tokens.size());
  input_.local_ids = staging_.At<int32_t>(ids_place_);
  input_.embed_order = staging_.At<int32_t>(order_place_);
  input_.shifts = staging_.At<int32_t>(shifts_place_);
  input_.logit_rows = staging_.At<int32_t>(logits_place_);
  input_.num_logits = static_cast<int64_t>(rows_.logit_rows.size());
  input_.groups.resize(config_.groups.size());
  for (size_t g = 0; g < config_.groups.size(); ++g) {
    const GroupPlaces& places = group_places_[g];
    DecoderInput::LayerGroupInput& group = input_.groups[g];
    group.cosines = staging_.At<float>(places.cosines);
    group.sines = staging_.At<float>(places.sines);
    group.plan.blocks = staging_.At<int64_t>(places.blocks);
    group.plan.pages = staging_.At<int32_t>(places.pages);
    group.plan.classes = staging_.At<AttentionClass>(places.classes);
    group.plan.items = staging_.At<AttentionItem>(places.items);
    group.plan.slots = staging_.At<KvSlot>(places.slots);
    group.plan.num_items = places.num_items;
    group.plan.splits = places.splits;
    group.plan.window = config_.groups[g].window;
  }
}

absl::StatusOr<std::span<const float>> Worker::Run(const StepBatch& batch) {
  ProgressRecord& record = *options_.record;
  record.Enter("planning");
  for (const KvOrder& order : batch.kv_orders) {
    if (absl::Status status = ApplyOrder(order); !status.ok()) return status;
  }
  if (batch.sequences.empty()) return std::span<const float>();
  if (absl::Status status = CollectRows(batch); !status.ok()) return status;
  staging_.Clear();
  StageEmbedding();
  shifts_place_ = staging_.Append(rows_.shifts);
  logits_place_ = staging_.Append(rows_.logit_rows);
  for (size_t g = 0; g < config_.groups.size(); ++g) StageGroup(batch, g);
  if (absl::Status status = staging_.Upload(backend_.device(), *stream_); !status.ok()) return status;
  FillInput();

  absl::StatusOr<const float*> logits = decoder_.Forward(*stream_, input_, kv_pages_.data());
  if (!logits.ok()) return logits.status();
  const size_t count = *logits == nullptr ? 0 : static_cast<size_t>(input_.num_logits * config_.vocab_size);
  Device& device = backend_.device();
  auto on_host = static_cast<const float*>(device.HostView(*logits));
  if (count > 0 && on_host == nullptr) {
    logits_.resize(count);
    device.CopyToHost(*stream_, logits_.data(), *logits, count * sizeof(float));
    on_host = logits_.data();
  }
  record.Enter("waiting for the device");
  if (absl::Status status = stream_->Synchronize(); !status.ok()) return status;
  if (agent_ != nullptr) TellComputed(batch);
  return std::span<const float>(on_host, count);
}

}  // namespace longspan
