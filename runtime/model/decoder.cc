#include "runtime/model/decoder.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr size_t kF = sizeof(float);

// Without heap memory for up to 8 ranks.
template <typename T>
using ByRank = absl::InlinedVector<T, 8>;

size_t FloatBytes(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns) * kF; }

}  // namespace

Decoder::Decoder(const ModelConfig& config, const ShardPlan& plan, Backend& backend, Communicator& group,
                 Communicator* kvp_group, const DecoderOptions& options)
    : config_(config),
      plan_(plan),
      backend_(backend),
      group_(group),
      kvp_group_(kvp_group),
      options_(options),
      record_(*options.record) {}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(const ModelSource& source, const ShardPlan& plan,
                                                         Backend& backend, Communicator& group,
                                                         Communicator* kvp_group,
                                                         const DecoderOptions& options,
                                                         const std::function<void(double)>& progress) {
  LONGSPAN_CHECK((plan.kvp > 1) == (kvp_group != nullptr) && options.record != nullptr);
  auto decoder =
      std::unique_ptr<Decoder>(new Decoder(source.config(), plan, backend, group, kvp_group, options));
  absl::StatusOr<ShardedWeights> weights = LoadShardedWeights(source, plan, backend, progress);
  if (!weights.ok()) return weights.status();
  decoder->weights_ = *std::move(weights);
  LONGSPAN_RETURN_IF_ERROR(decoder->AllocateWorkspace());
  return decoder;
}

absl::Status Decoder::AllocateWorkspace() {
  const int64_t n = options_.max_rows, m = options_.max_logits, d = config_.head_dim;
  const int64_t hidden = config_.hidden_size, ffn = plan_.down.columns.size();
  const size_t k = static_cast<size_t>(plan_.kvp_rank()), r = static_cast<size_t>(plan_.rank);
  const int64_t slice = plan_.attention[k].width();
  const bool root = plan_.rank == 0, alone = plan_.ranks() == 1, sharded_kv = plan_.kvp > 1;
  int64_t packed = 0;
  for (const HeadSlice& s : plan_.attention) packed += s.width() + s.NumHeads(static_cast<int>(d));
  const int64_t received = plan_.kvp * (slice + plan_.attention[k].NumHeads(static_cast<int>(d)));
  const int64_t splits = plan_.class_ways / plan_.kvp;

  const struct {
    DeviceBuffer* buffer;
    size_t bytes;
  } needs[] = {
      {&hidden_, FloatBytes(n, hidden)},
      {&normed_, FloatBytes(n, hidden)},
      {&update_, FloatBytes(n, hidden)},
      {&embedded_, alone ? 0 : 2 * FloatBytes(n, hidden)},
      {&qkv_part_, sharded_kv ? FloatBytes(n, plan_.qkv[k].size()) : 0},
      {&qkv_gathered_, sharded_kv ? FloatBytes(n, plan_.qkv_columns(config_.head_dim)) : 0},
      {&qkv_, FloatBytes(n, plan_.qkv_columns(config_.head_dim))},
      {&queries_, FloatBytes(n, plan_.heads * d)},
      {&partials_, FloatBytes(n, plan_.heads * d)},
      {&lse_, FloatBytes(n, plan_.heads)},
      {&split_space_, FloatBytes(splits * options_.max_split_rows, plan_.heads * (d + 1))},
      {&packed_, sharded_kv ? FloatBytes(n, packed) : 0},
      {&received_, sharded_kv ? FloatBytes(n, received) : 0},
      {&merged_, sharded_kv ? FloatBytes(n, slice) : 0},
      {&gate_, FloatBytes(n, ffn)},
      {&up_, FloatBytes(n, ffn)},
      {&activated_, FloatBytes(n, ffn)},
      {&logit_hidden_, FloatBytes(m, hidden)},
      {&logits_part_, FloatBytes(m, plan_.vocab[r].size())},
      {&logits_gathered_, root && !alone ? FloatBytes(m, config_.vocab_size) : 0},
      {&logits_, root && !alone ? FloatBytes(m, config_.vocab_size) : 0},
  };
  for (const auto& need : needs) {
    absl::StatusOr<DeviceBuffer> buffer = backend_.device().Allocate(need.bytes);
    if (!buffer.ok()) return buffer.status();
    *need.buffer = *std::move(buffer);
  }
  absl::StatusOr<std::unique_ptr<OrderedAllReduce>> all_reduce =
      OrderedAllReduce::Create(group_, backend_, n * config_.hidden_size);
  if (!all_reduce.ok()) return all_reduce.status();
  all_reduce_ = *std::move(all_reduce);
  return absl::OkStatus();
}

absl::StatusOr<const float*> Decoder::Forward(Stream& stream, const DecoderInput& input,
                                              std::byte* kv_pages) {
  LONGSPAN_CHECK(input.rows <= options_.max_rows && input.num_logits <= options_.max_logits);
  const int64_t n = input.rows, hidden = config_.hidden_size;
  LONGSPAN_RETURN_IF_ERROR(Embed(stream, input));
  const Tensor x = Rows(hidden_, n, hidden), normed = Rows(normed_, n, hidden),
               update = Rows(update_, n, hidden);
  Tensor pending;  // output of the block before, not yet added; normalised first by pending_norm if not null
  const float* pending_norm = nullptr;
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    record_.EnterLayer(layer);
    const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
    backend_.ResidualNorm(stream, x, pending, pending_norm, w.attention_norm, config_.norm_epsilon, normed);
    LONGSPAN_RETURN_IF_ERROR(AttentionBlock(stream, input, layer, kv_pages));
    backend_.ResidualNorm(stream, x, update, w.post_attention_norm, w.ffn_norm, config_.norm_epsilon, normed);
    LONGSPAN_RETURN_IF_ERROR(FfnBlock(stream, n, w));
    pending = update;
    pending_norm = w.post_ffn_norm;
  }
  record_.LeaveLayers();
  if (input.num_logits == 0) return nullptr;
  backend_.ResidualNorm(stream, x, pending, pending_norm, weights_.final_norm, config_.norm_epsilon, normed);
  return Logits(stream, input);
}

absl::Status Decoder::Embed(Stream& stream, const DecoderInput& input) {
  record_.Enter("embedding");
  const int64_t hidden = config_.hidden_size;
  const Tensor x = Rows(hidden_, input.rows, hidden);
  if (plan_.ranks() == 1) {
    backend_.Embed(stream, *weights_.embedding, input.local_ids, config_.embedding_scale, x);
    return absl::OkStatus();
  }
  // Each token is embedded by the rank that holds its row; the rows then go to everybody.
  ByRank<size_t> bytes_by_rank;
  for (int64_t count : input.ids_by_rank) bytes_by_rank.push_back(FloatBytes(count, hidden));
  const Tensor own = Rows(embedded_, input.ids_by_rank[static_cast<size_t>(plan_.rank)], hidden);
  Tensor all = Rows(embedded_, input.rows, hidden);
  all.data = embedded_.data() + FloatBytes(options_.max_rows, hidden);
  backend_.Embed(stream, *weights_.embedding, input.local_ids, config_.embedding_scale, own);
  record_.Enter("embedding: all-gather over all ranks");
  LONGSPAN_RETURN_IF_ERROR(group_.AllGather(own.data, bytes_by_rank, all.data, stream));
  backend_.ScatterRows(stream, all, input.embed_order, x);
  return absl::OkStatus();
}

absl::Status Decoder::Qkv(Stream& stream, int64_t rows, const LayerWeights& weights) {
  record_.Enter("attention: queries, keys, values");
  const int64_t columns = plan_.qkv_columns(config_.head_dim);
  const size_t k = static_cast<size_t>(plan_.kvp_rank());
  const bool sharded = plan_.kvp > 1;
  const Tensor out = Rows(sharded ? qkv_part_ : qkv_, rows, plan_.qkv[k].size());
  const Weight* parts[3];
  Tensor outs[3];
  size_t count = 0;
  int64_t column = 0;
  for (const std::unique_ptr<Weight>& weight : weights.qkv) {
    if (weight == nullptr) continue;
    parts[count] = weight.get();
    outs[count] =
        Tensor{static_cast<float*>(out.data) + column, DType::kF32, rows, weight->rows(), out.columns};
    column += weight->rows();
    ++count;
  }
  backend_.Linear(stream, {parts, count}, Rows(normed_, rows, config_.hidden_size), {outs, count});
  if (!sharded) return absl::OkStatus();
  ByRank<size_t> bytes_by_rank;
  ByRank<int64_t> widths;
  for (const Range& range : plan_.qkv) {
    bytes_by_rank.push_back(FloatBytes(rows, range.size()));
    widths.push_back(range.size());
  }
  record_.Enter("attention: all-gather over kvp");
  LONGSPAN_RETURN_IF_ERROR(
      kvp_group_->AllGather(qkv_part_.data(), bytes_by_rank, qkv_gathered_.data(), stream));
  backend_.InterleaveColumns(stream, reinterpret_cast<const float*>(qkv_gathered_.data()), widths,
                             Rows(qkv_, rows, columns));
  return absl::OkStatus();
}

KvLayer Decoder::KvOfLayer(int layer, std::byte* kv_pages) const {
  const size_t group = static_cast<size_t>(config_.layer_group[static_cast<size_t>(layer)]);
  const std::vector<int>& layers = config_.groups[group].layers;
  const int index = static_cast<int>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
  KvLayer kv;
  kv.layout = options_.kv_layout;
  kv.page_bytes = options_.kv_layout.layer_bytes() * static_cast<size_t>(options_.layers_per_page);
  kv.pages_per_block = static_cast<int>(layers.size()) / options_.layers_per_page;
  kv.page_column = index / options_.layers_per_page;
  kv.base =
      kv_pages + options_.kv_layout.layer_bytes() * static_cast<size_t>(index % options_.layers_per_page);
  return kv;
}

absl::Status Decoder::AttentionBlock(Stream& stream, const DecoderInput& input, int layer,
                                     std::byte* kv_pages) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const size_t group = static_cast<size_t>(config_.layer_group[static_cast<size_t>(layer)]);
  const int64_t n = input.rows, width = static_cast<int64_t>(plan_.heads) * config_.head_dim;
  LONGSPAN_RETURN_IF_ERROR(Qkv(stream, n, weights));

  record_.Enter("attention: own KV blocks");
  RopeAppendArgs append;
  append.qkv = Rows(qkv_, n, plan_.qkv_columns(config_.head_dim));
  append.qkv_bias = weights.qkv_bias;
  append.heads = plan_.heads;
  append.kv_heads = plan_.kv_heads;
  append.head_dim = config_.head_dim;
  append.query_norm = weights.query_norm;
  append.key_norm = weights.key_norm;
  append.norm_epsilon = config_.norm_epsilon;
  append.cosines = input.groups[group].cosines;
  append.sines = input.groups[group].sines;
  append.plan = input.groups[group].plan;
  append.kv = KvOfLayer(layer, kv_pages);
  append.queries = Rows(queries_, n, width);
  backend_.RopeAppend(stream, append);

  AttentionArgs attention;
  attention.queries = append.queries;
  attention.heads = plan_.heads;
  attention.query_scale = config_.query_scale;
  attention.score_cap = config_.score_cap;
  attention.kv = append.kv;
  attention.plan = append.plan;
  attention.partials = Rows(partials_, n, width);
  attention.lse = Rows(lse_, n, plan_.heads);
  attention.split_space = reinterpret_cast<float*>(split_space_.data());
  LONGSPAN_CHECK(attention.plan.splits == 0 || n <= options_.max_split_rows);
  backend_.PagedAttention(stream, attention);

  absl::StatusOr<Tensor> merged = ExchangePartials(stream, input);
  if (!merged.ok()) return merged.status();
  record_.Enter("attention: output projection");
  return RowParallel(stream, *weights.output, *merged, "attention: all-reduce over all ranks");
}

absl::StatusOr<Tensor> Decoder::ExchangePartials(Stream& stream, const DecoderInput& input) {
  const int64_t n = input.rows;
  const int d = config_.head_dim;
  const Tensor partials = Rows(partials_, n, static_cast<int64_t>(plan_.heads) * d);
  if (plan_.kvp == 1) return partials;
  const HeadSlice& mine = plan_.attention[static_cast<size_t>(plan_.kvp_rank())];
  ByRank<size_t> send_bytes;
  for (const HeadSlice& slice : plan_.attention)
    send_bytes.push_back(FloatBytes(n, slice.width() + slice.NumHeads(d)));
  const ByRank<size_t> receive_bytes(static_cast<size_t>(plan_.kvp),
                                     FloatBytes(n, mine.width() + mine.NumHeads(d)));
  backend_.PackPartials(stream, partials, Rows(lse_, n, plan_.heads), d, plan_.attention,
                        reinterpret_cast<float*>(packed_.data()));
  record_.Enter("attention: all-to-all over kvp");
  LONGSPAN_RETURN_IF_ERROR(
      kvp_group_->AllToAll(packed_.data(), send_bytes, received_.data(), receive_bytes, stream));
  const Tensor merged = Rows(merged_, n, mine.width());
  backend_.MergePartials(stream, reinterpret_cast<const float*>(received_.data()), plan_.kvp, mine, d,
                         input.shifts, merged);
  return merged;
}

absl::Status Decoder::FfnBlock(Stream& stream, int64_t rows, const LayerWeights& weights) {
  record_.Enter("feed-forward");
  const int64_t width = plan_.down.columns.size();
  const Weight* parts[2] = {weights.gate.get(), weights.up.get()};
  const Tensor outs[2] = {Rows(gate_, rows, width), Rows(up_, rows, width)};
  const Tensor activated = Rows(activated_, rows, width);
  backend_.Linear(stream, parts, Rows(normed_, rows, config_.hidden_size), outs);
  backend_.GatedActivation(stream, config_.activation == ActivationKind::kGeluTanh, outs[0], outs[1],
                           activated);
  return RowParallel(stream, *weights.down, activated, "feed-forward: all-reduce over all ranks");
}

absl::Status Decoder::RowParallel(Stream& stream, const Weight& weight, Tensor x, const char* sum) {
  const Weight* weights[1] = {&weight};
  const Tensor outs[1] = {Rows(update_, x.rows, config_.hidden_size)};
  backend_.Linear(stream, weights, x, outs);
  if (plan_.ranks() > 1) record_.Enter(sum);
  return all_reduce_->Run(stream, reinterpret_cast<float*>(update_.data()), x.rows * config_.hidden_size);
}

absl::StatusOr<const float*> Decoder::Logits(Stream& stream, const DecoderInput& input) {
  record_.Enter("logits");
  const int64_t m = input.num_logits;
  const Tensor rows = Rows(logit_hidden_, m, config_.hidden_size);
  backend_.GatherRows(stream, Rows(normed_, input.rows, config_.hidden_size), input.logit_rows, rows);
  const Weight* weights[1] = {&weights_.output()};
  // The parts of one row, one after the other, are the row: rank 0 then gathers in place.
  const bool one_row = m == 1 && plan_.ranks() > 1;
  const DeviceBuffer& part = one_row && plan_.rank == 0 ? logits_ : logits_part_;
  const DeviceBuffer& gathered = one_row ? logits_ : logits_gathered_;
  const Tensor outs[1] = {Rows(part, m, plan_.vocab[static_cast<size_t>(plan_.rank)].size())};
  backend_.Linear(stream, weights, rows, outs);
  if (config_.logit_cap > 0) backend_.SoftCap(stream, outs[0], config_.logit_cap);
  if (plan_.ranks() == 1) return reinterpret_cast<const float*>(part.data());
  ByRank<size_t> bytes_by_rank;
  ByRank<int64_t> widths;
  for (const Range& range : plan_.vocab) {
    bytes_by_rank.push_back(FloatBytes(m, range.size()));
    widths.push_back(range.size());
  }
  record_.Enter("logits: gather to rank 0");
  LONGSPAN_RETURN_IF_ERROR(group_.Gather(part.data(), bytes_by_rank, gathered.data(), /*root=*/0, stream));
  if (plan_.rank != 0) return nullptr;
  if (!one_row) {
    backend_.InterleaveColumns(stream, reinterpret_cast<const float*>(gathered.data()), widths,
                               Rows(logits_, m, config_.vocab_size));
  }
  return reinterpret_cast<const float*>(logits_.data());
}

}  // namespace longspan
