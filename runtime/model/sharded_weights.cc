#include "runtime/model/sharded_weights.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/half.h"
#include "runtime/model/finite_values.h"

namespace longspan {
namespace {

class Loader {
 public:
  Loader(const ModelSource& source, const ShardPlan& plan, Backend& backend)
      : source_(source), config_(source.config()), plan_(plan), backend_(backend) {}

  absl::Status LoadVocabulary(ShardedWeights& weights) {
    const Range rows = plan_.vocab[static_cast<size_t>(plan_.rank)];
    if (absl::Status s = LoadRows(WeightRole::kEmbedding, 0, rows, weights.embedding); !s.ok()) return s;
    if (config_.tied_embedding) return absl::OkStatus();
    return LoadRows(WeightRole::kOutput, 0, rows, weights.untied_output);
  }

  absl::Status LoadLayer(int layer, LayerWeights& weights) {
    absl::Status status = LoadQkv(layer, weights);
    const Range ffn = plan_.down.columns;
    status.Update(LoadColumns(WeightRole::kAttentionOutput, layer, plan_.output, weights.output));
    status.Update(LoadRows(WeightRole::kGate, layer, ffn, weights.gate));
    status.Update(LoadRows(WeightRole::kUp, layer, ffn, weights.up));
    status.Update(LoadColumns(WeightRole::kDown, layer, plan_.down, weights.down));
    return status;
  }

  // Norms and biases of all layers go into one buffer.
  absl::Status LoadVectors(ShardedWeights& weights) {
    std::vector<float> values;
    std::vector<std::pair<const float**, size_t>> places;
    absl::Status status;
    const auto add = [&](WeightRole role, int layer, const float*& place) {
      places.emplace_back(&place, values.size());
      status.Update(AppendNorm(role, layer, values));
    };
    add(WeightRole::kFinalNorm, 0, weights.final_norm);
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      LayerWeights& l = weights.layers[static_cast<size_t>(layer)];
      add(WeightRole::kAttentionNorm, layer, l.attention_norm);
      add(WeightRole::kFfnNorm, layer, l.ffn_norm);
      if (config_.qkv_bias) {
        places.emplace_back(&l.qkv_bias, values.size());
        status.Update(AppendQkvBias(layer, values));
      }
      if (config_.qk_norm) {
        add(WeightRole::kQueryNorm, layer, l.query_norm);
        add(WeightRole::kKeyNorm, layer, l.key_norm);
      }
      if (config_.post_norms) {
        add(WeightRole::kPostAttentionNorm, layer, l.post_attention_norm);
        add(WeightRole::kPostFfnNorm, layer, l.post_ffn_norm);
      }
    }
    if (!status.ok()) return status;
    const size_t bytes = values.size() * sizeof(float);
    absl::StatusOr<DeviceBuffer> buffer = backend_.device().Allocate(bytes);
    if (!buffer.ok()) return buffer.status();
    weights.vectors = *std::move(buffer);
    const float* base = reinterpret_cast<const float*>(weights.vectors.data());
    for (const auto& [place, offset] : places) *place = base + offset;
    const std::unique_ptr<Stream> stream = backend_.device().NewStream();
    backend_.device().CopyToDevice(*stream, weights.vectors.data(), values.data(), bytes);
    bytes_ += bytes;
    return stream->Synchronize();
  }

  size_t bytes() const { return bytes_; }

 private:
  // Of the rows and columns that are loaded: a rank need not read what others hold.
  static absl::Status CheckFinite(const WeightView& view, Range rows, Range columns) {
    const TensorEntry& entry = *view.entry;
    const int block = Traits(entry.dtype).block_elements;
    const int64_t first = columns.begin / block, last = (columns.end + block - 1) / block;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const int64_t row = view.row_order.empty() ? i : view.row_order[static_cast<size_t>(i)];
      const std::byte* begin = entry.data + static_cast<size_t>(row) * RowBytes(entry.dtype, view.columns) +
                               RowBytes(entry.dtype, first * block);
      const std::optional<int64_t> found = FirstNonFinite(entry.dtype, begin, last - first);
      if (found.has_value()) return NotFinite(entry, row, (first + *found) * block);
    }
    return absl::OkStatus();
  }

  static absl::Status NotFinite(const TensorEntry& entry, int64_t row, int64_t column) {
    return absl::DataLossError(absl::StrCat(entry.file->path(), ": tensor ", entry.name,
                                            " has a value that is not finite in row ", row, " at column ",
                                            column, "; the file is damaged, copy or download it again"));
  }

  absl::Status LoadSlice(const WeightView& view, WeightSlice slice, std::unique_ptr<Weight>& out) {
    slice.dtype = view.entry->dtype;
    slice.data = view.entry->data;
    slice.file_columns = view.columns;
    slice.row_order = view.row_order;
    absl::StatusOr<std::unique_ptr<Weight>> weight = backend_.LoadWeight(slice);
    if (!weight.ok()) return weight.status();
    // Now that the backend's threads have brought the pages in.
    const Range rows = {slice.row_begin, slice.row_end}, columns = {slice.column_begin, slice.column_end};
    if (absl::Status s = CheckFinite(view, rows, columns); !s.ok()) return s;
    out = *std::move(weight);
    bytes_ += out->bytes();
    source_.Release(view);
    return absl::OkStatus();
  }

  absl::Status LoadRows(WeightRole role, int layer, Range rows, std::unique_ptr<Weight>& out) {
    const WeightView view = source_.Weight(role, layer);
    WeightSlice slice;
    slice.row_begin = rows.begin;
    slice.row_end = rows.end;
    slice.column_end = view.columns;
    return LoadSlice(view, slice, out);
  }

  absl::Status LoadColumns(WeightRole role, int layer, const LeafShare& share, std::unique_ptr<Weight>& out) {
    const WeightView view = source_.Weight(role, layer);
    WeightSlice slice;
    slice.row_end = view.rows;
    slice.column_begin = share.columns.begin;
    slice.column_end = share.columns.end;
    slice.leaf_ends = share.leaf_ends;
    return LoadSlice(view, slice, out);
  }

  absl::Status LoadQkv(int layer, LayerWeights& weights) {
    const Range mine = plan_.qkv[static_cast<size_t>(plan_.kvp_rank())];
    const WeightRole roles[3] = {WeightRole::kQuery, WeightRole::kKey, WeightRole::kValue};
    int64_t begin = 0;  // of the matrix within the tp shard's columns
    for (int i = 0; i < 3; ++i) {
      const int64_t width = static_cast<int64_t>(i == 0 ? plan_.heads : plan_.kv_heads) * config_.head_dim;
      const Range part = {std::max(mine.begin, begin) - begin, std::min(mine.end, begin + width) - begin};
      begin += width;
      if (part.size() <= 0) continue;
      const int64_t shard = width * plan_.tp_rank();
      const Range rows = {shard + part.begin, shard + part.end};
      if (absl::Status s = LoadRows(roles[i], layer, rows, weights.qkv[static_cast<size_t>(i)]); !s.ok())
        return s;
    }
    return absl::OkStatus();
  }

  absl::Status AppendNorm(WeightRole role, int layer, std::vector<float>& values) {
    const WeightView view = source_.Weight(role, layer);
    const size_t begin = values.size();
    if (absl::Status s = AppendVector(view, {0, view.columns}, values); !s.ok()) return s;
    for (size_t i = begin; i < values.size(); ++i) values[i] += config_.norm_weight_offset;
    return absl::OkStatus();
  }

  // The tp shard's columns of queries, then of keys, then of values.
  absl::Status AppendQkvBias(int layer, std::vector<float>& values) {
    absl::Status status;
    for (WeightRole role : {WeightRole::kQueryBias, WeightRole::kKeyBias, WeightRole::kValueBias}) {
      const WeightView view = source_.Weight(role, layer);
      const int64_t width = view.columns / plan_.tp;
      status.Update(AppendVector(view, {width * plan_.tp_rank(), width * (plan_.tp_rank() + 1)}, values));
    }
    return status;
  }

  absl::Status AppendVector(const WeightView& view, Range range, std::vector<float>& values) {
    LONGSPAN_CHECK(view.rows == 1);
    const TensorEntry& entry = *view.entry;
    if (const auto found = FirstNonFinite(entry.dtype, entry.data, view.columns); found.has_value()) {
      return NotFinite(entry, 0, *found);
    }
    for (int64_t i = range.begin; i < range.end; ++i) {
      values.push_back(ValueAt(entry, view.row_order.empty() ? i : view.row_order[static_cast<size_t>(i)]));
    }
    source_.Release(view);
    return absl::OkStatus();
  }

  static float ValueAt(const TensorEntry& entry, int64_t i) {
    if (entry.dtype == DType::kF32) {
      float value;
      std::memcpy(&value, entry.data + 4 * i, sizeof value);
      return value;
    }
    uint16_t half;
    std::memcpy(&half, entry.data + 2 * i, sizeof half);
    return entry.dtype == DType::kBF16 ? Bf16ToF32(half) : F16ToF32(half);
  }

  const ModelSource& source_;
  const ModelConfig& config_;
  const ShardPlan& plan_;
  Backend& backend_;
  size_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<ShardedWeights> LoadShardedWeights(const ModelSource& source, const ShardPlan& plan,
                                                  Backend& backend,
                                                  const std::function<void(double)>& progress) {
  const int num_layers = source.config().num_layers;
  Loader loader(source, plan, backend);
  ShardedWeights weights;
  weights.layers.resize(static_cast<size_t>(num_layers));
  absl::Status status = loader.LoadVocabulary(weights);
  status.Update(loader.LoadVectors(weights));
  for (int layer = 0; layer < num_layers && status.ok(); ++layer) {
    status = loader.LoadLayer(layer, weights.layers[static_cast<size_t>(layer)]);
    if (progress) progress(static_cast<double>(layer + 1) / num_layers);
  }
  if (!status.ok()) return status;
  weights.bytes = loader.bytes();
  return weights;
}

}  // namespace longspan
