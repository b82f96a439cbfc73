#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/kernel_cases.h"
#include "kernels/attention_plan.h"
#include "kernels/check.h"
#include "kernels/cpu/half.h"
#include "tests/support/random_values.h"

namespace longspan::bench {
namespace {

struct Heads {
  int head_dim = 0, kv_heads = 0;
};
// Heads of a Llama of 1B, a Llama of 8B and the default model; the others fit between them.
constexpr Heads kDecodeHeads[] = {{64, 8}, {128, 8}, {256, 1}};
constexpr int kDecodeQueries[] = {4, 8};  // query heads a KV head
constexpr int64_t kDecodeContexts[] = {8192, 32768};
constexpr int kPrefillHeadDims[] = {64, 128, 256};
constexpr int kPrefillKvHeads = 1, kPrefillQueries = 4;
constexpr int64_t kPrefillPrefixes[] = {0, 8192, 32768};
constexpr int64_t kChunkRows[] = {512, 8};  // of a prompt alone, and beside decodes

struct AttentionShape {
  Heads heads;
  int queries = 0;  // query heads a KV head
  int64_t rows = 0;
  int64_t first_position = 0;

  int NumHeads() const { return heads.kv_heads * queries; }
  int64_t Tokens() const { return first_position + rows; }
  // Pairs of a query row and a key that it sees.
  double VisibleKeys() const {
    return static_cast<double>(rows) *
           (static_cast<double>(first_position) + static_cast<double>(rows + 1) / 2);
  }
};

// As the engine's worker plans (runtime/engine/worker.cc).
AttentionPlanOptions PlanOptions(const AttentionShape& shape, int threads) {
  AttentionPlanOptions options;
  options.max_tile_rows = MaxTileRows(shape.queries);
  options.min_items = MinItems(shape.heads.kv_heads, threads);
  return options;
}

template <typename T>
DeviceBuffer Upload(Device& device, const std::vector<T>& values) {
  auto buffer = device.Allocate(values.size() * sizeof(T));
  LONGSPAN_CHECK(buffer.ok());
  const auto stream = device.NewStream();
  device.CopyToDevice(*stream, buffer->data(), values.data(), values.size() * sizeof(T));
  LONGSPAN_CHECK(stream->Synchronize().ok());
  return *std::move(buffer);
}

// The KV of one sequence in so many layers that together they fill the footprint, in pages as the engine has
// them: a page holds one block of all layers.
class KvOfLayers {
 public:
  KvOfLayers(Device& device, const KvLayout& layout, int64_t tokens, size_t footprint_bytes)
      : layout_(layout), blocks_((tokens + layout.block_size - 1) / layout.block_size) {
    const size_t layer_bytes = layout.layer_bytes() * static_cast<size_t>(blocks_);
    layers_ = static_cast<int>((footprint_bytes + layer_bytes - 1) / layer_bytes);
    auto buffer = device.Allocate(layer_bytes * static_cast<size_t>(layers_));
    LONGSPAN_CHECK(buffer.ok());
    buffer_ = *std::move(buffer);
    std::vector<uint16_t> values;
    for (float value : RandomValues(1).Floats(1 << 19)) values.push_back(F32ToBf16(value));
    const auto stream = device.NewStream();
    for (size_t done = 0; done < buffer_.bytes();) {
      const size_t count = std::min(buffer_.bytes() - done, values.size() * sizeof(uint16_t));
      device.CopyToDevice(*stream, buffer_.data() + done, values.data(), count);
      done += count;
    }
    LONGSPAN_CHECK(stream->Synchronize().ok());
  }

  int64_t blocks() const { return blocks_; }
  size_t bytes_of_layer() const { return layout_.layer_bytes() * static_cast<size_t>(blocks_); }

  KvLayer NextLayer() {
    KvLayer layer;
    layer.base = buffer_.data() + static_cast<size_t>(next_) * layout_.layer_bytes();
    layer.page_bytes = static_cast<size_t>(layers_) * layout_.layer_bytes();
    layer.layout = layout_;
    next_ = (next_ + 1) % layers_;
    return layer;
  }

 private:
  const KvLayout layout_;
  const int64_t blocks_;
  int layers_ = 0;
  DeviceBuffer buffer_;
  int next_ = 0;
};

// Attention on one backend: its plan and its buffers.
class AttentionWork {
 public:
  AttentionWork(Backend& backend, const AttentionShape& shape, KvOfLayers& kv)
      : backend_(backend), stream_(backend.device().NewStream()), kv_(kv) {
    std::vector<int64_t> indices(static_cast<size_t>(kv.blocks()));
    std::iota(indices.begin(), indices.end(), 0);
    const std::vector<int32_t> pages(indices.begin(), indices.end());
    const AttentionSequence sequence = {0, shape.rows, shape.first_position, indices, pages};
    const AttentionPlan plan =
        PlanAttention({&sequence, 1}, shape.rows, PlanOptions(shape, backend.threads()));
    args_.plan.blocks = Keep(plan.blocks);
    args_.plan.pages = Keep(plan.pages);
    args_.plan.classes = Keep(plan.classes);
    args_.plan.items = Keep(plan.items);
    args_.plan.slots = Keep(plan.slots);
    args_.plan.num_items = static_cast<int64_t>(plan.items.size());
    args_.plan.splits = plan.splits;

    const int64_t width = int64_t{shape.NumHeads()} * shape.heads.head_dim;
    RandomValues random(3);
    args_.queries = MakeTensor(Keep(random.Floats(shape.rows * width)), DType::kF32, shape.rows, width);
    args_.heads = shape.NumHeads();
    args_.query_scale = 1 / std::sqrt(static_cast<float>(shape.heads.head_dim));
    args_.partials = MakeTensor(Keep(Zeros(shape.rows * width)), DType::kF32, shape.rows, width);
    args_.lse = MakeTensor(Keep(Zeros(shape.rows * args_.heads)), DType::kF32, shape.rows, args_.heads);
    args_.split_space = Keep(Zeros(plan.splits * shape.rows * args_.heads * (shape.heads.head_dim + 1)));
  }

  void Run() {
    args_.kv = kv_.NextLayer();
    backend_.PagedAttention(*stream_, args_);
    LONGSPAN_CHECK(stream_->Synchronize().ok());
  }

 private:
  static std::vector<float> Zeros(int64_t count) { return std::vector<float>(static_cast<size_t>(count)); }

  // Copies to the device and keeps for as long as this lives.
  template <typename T>
  T* Keep(const std::vector<T>& values) {
    buffers_.push_back(Upload(backend_.device(), values));
    return reinterpret_cast<T*>(buffers_.back().data());
  }

  Backend& backend_;
  const std::unique_ptr<Stream> stream_;
  KvOfLayers& kv_;
  std::vector<DeviceBuffer> buffers_;
  AttentionArgs args_;
};

void RunShape(const std::string& name, const AttentionShape& shape, const std::vector<BoundBackend>& backends,
              const KernelCaseOptions& options, Measurement& measurement) {
  std::unique_ptr<KvOfLayers> kv;
  std::vector<std::unique_ptr<AttentionWork>> works;
  std::vector<Case> cases;
  for (const BoundBackend& bound : backends) {
    if (!measurement.Wants(name, bound.threads)) continue;
    if (kv == nullptr) {
      const KvLayout layout = {.head_dim = shape.heads.head_dim, .kv_heads = shape.heads.kv_heads};
      kv = std::make_unique<KvOfLayers>(bound.backend->device(), layout, shape.Tokens(),
                                        options.footprint_bytes);
    }
    works.push_back(std::make_unique<AttentionWork>(*bound.backend, shape, *kv));
    Case timed;
    timed.name = name;
    timed.threads = bound.threads;
    timed.run = [&work = *works.back()] { work.Run(); };
    timed.bytes = static_cast<double>(kv->bytes_of_layer());
    timed.footprint_bytes = options.footprint_bytes;
    timed.arithmetic = {{4.0 * shape.VisibleKeys() * shape.NumHeads() * shape.heads.head_dim,
                         {Roof::kF32Fma, Roof::kBf16Dot}}};
    cases.push_back(std::move(timed));
  }
  measurement.Run(cases);
}

std::string HeadsName(const AttentionShape& shape) {
  return absl::StrCat("/head_dim=", shape.heads.head_dim, "/heads=", shape.NumHeads(), ":",
                      shape.heads.kv_heads);
}

}  // namespace

void RunAttentionCases(const std::vector<BoundBackend>& backends, const KernelCaseOptions& options,
                       Measurement& measurement) {
  for (const Heads& heads : kDecodeHeads) {
    for (int queries : kDecodeQueries) {
      for (int64_t context : kDecodeContexts) {
        const AttentionShape shape = {heads, queries, 1, context - 1};
        RunShape(absl::StrCat("attention/decode", HeadsName(shape), "/context=", context), shape, backends,
                 options, measurement);
      }
    }
  }
  for (int head_dim : kPrefillHeadDims) {
    for (int64_t prefix : kPrefillPrefixes) {
      for (int64_t rows : kChunkRows) {
        const AttentionShape shape = {{head_dim, kPrefillKvHeads}, kPrefillQueries, rows, prefix};
        RunShape(absl::StrCat("attention/prefill", HeadsName(shape), "/rows=", rows, "/prefix=", prefix),
                 shape, backends, options, measurement);
      }
    }
  }
}

}  // namespace longspan::bench
