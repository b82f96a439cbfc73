#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/thread_pool.h"

namespace longspan {
namespace {

constexpr int64_t kRowsPerTask = 8;  // rows of light row-wise work that are worth a hand-over to a thread

float* Floats(const Tensor& tensor) { return static_cast<float*>(tensor.data); }

const KernelTable& TableOf(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::Kernels();
  if (isa == Isa::kAvx2) return avx2::Kernels();
#endif
  return portable::Kernels();
}

// Memory, aligned for vectors, that grows when a call needs more than any before it and then forgets its
// contents.
template <typename T>
class WorkSpace {
 public:
  T* AtLeast(size_t count) {
    if (count > size_) {
      data_.reset();
      data_.reset(static_cast<T*>(::operator new(count * sizeof(T), kAlignment)));
      size_ = count;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const CpuBackendOptions& options, Isa isa)
      : kernels_(TableOf(isa)), activation_(options.activation), pool_(options.threads) {
    scratch_.resize(static_cast<size_t>(pool_.threads()));
  }

  Device& device() override { return device_; }
  int threads() const override { return pool_.threads(); }
  void HostFor(int64_t count, absl::FunctionRef<void(int64_t, int)> body) override {
    pool_.ForEach(count, [&](int64_t index, int thread) {
      KeepDenormals keep;
      body(index, thread);
    });
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(const WeightSlice& slice) override {
    return PackedWeight::Pack(slice, device_, pool_);
  }

  void Embed(Stream& stream, const Weight& table, const int32_t* ids, float scale, Tensor out) override {
    FlushDenormals flush;
    const LinearArgs args = ArgsOf(static_cast<const PackedWeight&>(table));
    pool_.For(out.columns == 0 ? 0 : out.rows, kRowsPerTask, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        LONGSPAN_CHECK(ids[i] >= 0 && ids[i] < table.rows());
        kernels_.weight_row(args, ids[i], table.columns(), scale, Floats(out) + i * out.stride);
      }
    });
  }

  void ResidualNorm(Stream& stream, Tensor x, Tensor update, const float* post_norm, const float* norm,
                    float epsilon, Tensor out) override {
    FlushDenormals flush;
    pool_.For(x.rows, kRowsPerTask, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row_update = update.empty() ? nullptr : Floats(update) + i * update.stride;
        kernels_.residual_norm(Floats(x) + i * x.stride, row_update, post_norm, norm, epsilon, x.columns,
                               Floats(out) + i * out.stride);
      }
    });
  }

  void Linear(Stream& stream, std::span<const Weight* const> weights, Tensor x,
              std::span<const Tensor> outs) override;

  void GatedActivation(Stream& stream, bool gelu_tanh, Tensor gate, Tensor up, Tensor out) override {
    FlushDenormals flush;
    pool_.For(out.columns == 0 ? 0 : out.rows, kRowsPerTask, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        kernels_.gated(gelu_tanh, Floats(gate) + i * gate.stride, Floats(up) + i * up.stride, out.columns,
                       Floats(out) + i * out.stride);
      }
    });
  }

  void RopeAppend(Stream& stream, const RopeAppendArgs& args) override {
    FlushDenormals flush;
    pool_.For(args.qkv.rows, kRowsPerTask,
              [&](int64_t begin, int64_t end, int) { RopeAppendRows(args, kernels_, begin, end); });
  }

  void PagedAttention(Stream& stream, const AttentionArgs& args) override;

  void PackPartials(Stream& stream, Tensor partials, Tensor lse, int head_dim,
                    std::span<const HeadSlice> slices, float* packed) override {
    for (const HeadSlice& slice : slices) {
      packed = CopyColumns(partials, slice.begin, slice.width(), packed);
      packed = CopyColumns(lse, slice.FirstHead(head_dim), slice.NumHeads(head_dim), packed);
    }
  }

  void MergePartials(Stream& stream, const float* received, int parts, HeadSlice slice, int head_dim,
                     const int32_t* shifts, Tensor out) override;

  void InterleaveColumns(Stream& stream, const float* parts, std::span<const int64_t> widths,
                         Tensor out) override {
    int64_t column = 0;
    for (int64_t width : widths) {
      for (int64_t i = 0; i < out.rows && width > 0; ++i) {
        std::memcpy(Floats(out) + i * out.stride + column, parts + i * width,
                    sizeof(float) * static_cast<size_t>(width));
      }
      parts += out.rows * width;
      column += width;
    }
  }

  void GatherRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) override {
    for (int64_t i = 0; i < out.rows; ++i) CopyRow(x, index[i], out, i);
  }

  void ScatterRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) override {
    for (int64_t i = 0; i < x.rows; ++i) CopyRow(x, i, out, index[i]);
  }

  void SoftCap(Stream& stream, Tensor x, float cap) override {
    FlushDenormals flush;
    LONGSPAN_CHECK(cap > 0);
    pool_.For(x.columns == 0 ? 0 : x.rows, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) kernels_.soft_cap(Floats(x) + i * x.stride, x.columns, cap);
    });
  }

  void SumParts(Stream& stream, const float* parts, int count, int64_t elements, float* out) override {
    FlushDenormals flush;
    LONGSPAN_CHECK(count >= 1 && count <= kMaxParts);
    constexpr int64_t kElementsPerTask = 8192;
    pool_.For(elements, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      kernels_.sum_parts(parts, count, elements, begin, end, out);
    });
  }

 private:
  static void CopyRow(const Tensor& from, int64_t from_row, const Tensor& to, int64_t to_row) {
    std::memcpy(Floats(to) + to_row * to.stride, Floats(from) + from_row * from.stride,
                sizeof(float) * static_cast<size_t>(from.columns));
  }

  static float* CopyColumns(const Tensor& from, int64_t column, int64_t width, float* out) {
    for (int64_t i = 0; i < from.rows && width > 0; ++i) {
      std::memcpy(out + i * width, Floats(from) + i * from.stride + column,
                  sizeof(float) * static_cast<size_t>(width));
    }
    return out + from.rows * width;
  }

  static LinearArgs ArgsOf(const PackedWeight& weight) {
    LinearArgs args;
    args.dtype = weight.dtype();
    args.panels = weight.panels();
    args.panel_bytes = weight.panel_bytes();
    args.outputs = weight.rows();
    args.groups = weight.groups();
    args.super_phase = weight.super_phase();
    args.leaf_ends = weight.leaf_ends().data();
    args.leaves = static_cast<int>(weight.leaf_ends().size());
    return args;
  }

  bool UsesInt8(DType dtype) const {
    return IsBlockFormat(dtype) &&
           (activation_ == ActivationDType::kAuto || activation_ == ActivationDType::kInt8);
  }

  PackedActivations PackRows(Tensor x, bool int8);
  // For every thread now: which of them gets work is chance, and a later step should not have to allocate.
  void ReserveScratch(size_t floats) {
    for (WorkSpace<float>& scratch : scratch_) scratch.AtLeast(floats);
  }

  const KernelTable& kernels_;
  const ActivationDType activation_;
  CpuDevice device_;
  ThreadPool pool_;
  WorkSpace<float> values_;
  WorkSpace<int32_t> quants_;
  WorkSpace<float> scales_, scaled_sums_;
  WorkSpace<int32_t> low_sums_, high_sums_;
  std::vector<WorkSpace<float>> scratch_;  // by thread
};

PackedActivations CpuBackend::PackRows(Tensor x, bool int8) {
  PackedActivations packed;
  packed.rows = x.rows;
  packed.groups = NumQuantGroups(x.columns);
  const size_t groups = static_cast<size_t>(x.rows * packed.groups);
  PackActivationsArgs args;
  args.x = Floats(x);
  args.stride = x.stride;
  args.rows = x.rows;
  args.columns = x.columns;
  if (int8) {
    packed.quants = args.quants = quants_.AtLeast(groups * 8);
    packed.scales = args.scales = scales_.AtLeast(groups);
    packed.low_sums = args.low_sums = low_sums_.AtLeast(groups + kActivationSlack);
    packed.high_sums = args.high_sums = high_sums_.AtLeast(groups + kActivationSlack);
    packed.scaled_sums = args.scaled_sums = scaled_sums_.AtLeast(groups);
  } else {
    packed.values = args.values = values_.AtLeast(groups * kQuantGroup);
    args.round_to_bf16 = activation_ == ActivationDType::kBF16;
  }
  pool_.For((x.rows + 7) / 8, 1, [&](int64_t begin, int64_t end, int) {
    kernels_.pack_activations(args, begin * 8, std::min(end * 8, x.rows));
  });
  return packed;
}

void CpuBackend::Linear(Stream& stream, std::span<const Weight* const> weights, Tensor x,
                        std::span<const Tensor> outs) {
  FlushDenormals flush;
  constexpr size_t kMaxWeights = 4;
  LONGSPAN_CHECK(weights.size() <= kMaxWeights && weights.size() == outs.size());
  if (x.rows == 0) return;
  LinearArgs args[kMaxWeights];
  int64_t ends[kMaxWeights];  // of each weight's panels in the joint loop
  int64_t panels = 0;
  PackedActivations packed[2];  // float, int8
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto& weight = static_cast<const PackedWeight&>(*weights[i]);
    LONGSPAN_CHECK(weight.columns() == x.columns && weight.rows() == outs[i].columns);
    if (weight.rows() > 0 && weight.columns() == 0) {  // a rank whose share of the inner dimension is empty
      for (int64_t r = 0; r < x.rows; ++r)
        std::fill_n(Floats(outs[i]) + r * outs[i].stride, outs[i].columns, 0.0f);
    } else if (weight.rows() > 0) {
      args[i] = ArgsOf(weight);
      args[i].int8_activations = UsesInt8(weight.dtype());
      PackedActivations& activations = packed[args[i].int8_activations ? 1 : 0];
      if (activations.rows == 0) activations = PackRows(x, args[i].int8_activations);
      args[i].x = activations;
      args[i].out = Floats(outs[i]);
      args[i].out_stride = outs[i].stride;
      panels += weight.num_panels();
    }
    ends[i] = panels;
  }
  int leaves = 1;
  for (size_t i = 0; i < weights.size(); ++i) leaves = std::max(leaves, args[i].leaves);
  const size_t sum_floats = LinearSumFloats(x.rows, leaves);
  const int grain = x.rows < kMaxTileRows ? 1 : kernels_.panels_at_once;
  ReserveScratch(sum_floats);
  pool_.For(panels, grain, [&](int64_t begin, int64_t end, int thread) {
    float* sums = scratch_[static_cast<size_t>(thread)].AtLeast(sum_floats);
    int64_t weight_begin = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const int64_t from = std::max(begin, weight_begin), to = std::min(end, ends[i]);
      if (from < to) kernels_.linear(args[i], from - weight_begin, to - weight_begin, sums);
      weight_begin = ends[i];
    }
  });
}

void CpuBackend::PagedAttention(Stream& stream, const AttentionArgs& args) {
  FlushDenormals flush;
  const KvLayout& layout = args.kv.layout;
  LONGSPAN_CHECK(layout.head_dim % 16 == 0 && layout.block_size % 16 == 0 && args.score_cap >= 0);
  AttentionKernelArgs kernel_args;
  kernel_args.queries = Floats(args.queries);
  kernel_args.query_stride = args.queries.stride;
  kernel_args.heads = args.heads;
  kernel_args.kv_heads = layout.kv_heads;
  kernel_args.head_dim = layout.head_dim;
  kernel_args.block_size = layout.block_size;
  kernel_args.kv_is_f32 = layout.dtype == DType::kF32;
  kernel_args.query_scale = args.query_scale;
  kernel_args.score_cap = args.score_cap;
  kernel_args.kv_base = args.kv.base;
  kernel_args.page_bytes = args.kv.page_bytes;
  kernel_args.pages_per_block = args.kv.pages_per_block;
  kernel_args.page_column = args.kv.page_column;
  kernel_args.piece_bytes = layout.piece_bytes();
  kernel_args.window = args.plan.window;
  kernel_args.blocks = args.plan.blocks;
  kernel_args.pages = args.plan.pages;
  kernel_args.classes = args.plan.classes;
  kernel_args.out = Floats(args.partials);
  kernel_args.out_stride = args.partials.stride;
  kernel_args.lse = Floats(args.lse);
  kernel_args.lse_stride = args.lse.stride;
  const int64_t rows = args.queries.rows;
  kernel_args.split_rows = rows;
  kernel_args.split_out = args.split_space;
  kernel_args.split_lse = args.split_space + args.plan.splits * rows * args.heads * layout.head_dim;

  if (args.plan.num_items == 0) return;
  const int classes = args.plan.items[0].class_count;  // of every item
  LONGSPAN_CHECK(classes <= kMaxParts && args.plan.splits <= kMaxParts);
  const size_t scratch = LayOutAttentionScratch(layout.head_dim, layout.block_size, classes).total;
  // Later items of a sequence see more: taken first, so that what is left at the end is small.
  const int64_t units = args.plan.num_items * layout.kv_heads;
  ReserveScratch(scratch);
  pool_.ForEach(units, [&](int64_t unit, int thread) {
    const int64_t i = units - 1 - unit;
    kernels_.attention(kernel_args, args.plan.items[i / layout.kv_heads],
                       static_cast<int>(i % layout.kv_heads),
                       scratch_[static_cast<size_t>(thread)].AtLeast(scratch));
  });
  if (args.plan.splits == 0) return;
  pool_.For(rows, kRowsPerTask, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* outs[kMaxParts];
      const float* lses[kMaxParts];
      for (int s = 0; s < args.plan.splits; ++s) {
        const int64_t at = (s * rows + row) * args.heads;
        outs[s] = kernel_args.split_out + at * layout.head_dim;
        lses[s] = kernel_args.split_lse + at;
      }
      MergeArgs merge;
      merge.outs = outs;
      merge.lses = lses;
      merge.count = args.plan.splits;
      merge.heads = args.heads;
      merge.head_dim = layout.head_dim;
      merge.width = static_cast<int64_t>(args.heads) * layout.head_dim;
      merge.out = kernel_args.out + row * args.partials.stride;
      merge.lse = kernel_args.lse + row * args.lse.stride;
      kernels_.merge(merge);
    }
  });
}

void CpuBackend::MergePartials(Stream& stream, const float* received, int parts, HeadSlice slice,
                               int head_dim, const int32_t* shifts, Tensor out) {
  FlushDenormals flush;
  LONGSPAN_CHECK(parts <= kMaxParts);
  if (slice.width() == 0) return;
  const int64_t rows = out.rows, width = slice.width();
  const int64_t heads = slice.NumHeads(head_dim);
  const int64_t part_floats = rows * (width + heads);
  pool_.For(rows, kRowsPerTask, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* outs[kMaxParts];
      const float* lses[kMaxParts];
      for (int j = 0; j < parts; ++j) {
        const float* part = received + (ClassAt(j, parts) + shifts[row]) % parts * part_floats;
        outs[j] = part + row * width;
        lses[j] = part + rows * width + row * heads;
      }
      MergeArgs merge;
      merge.outs = outs;
      merge.lses = lses;
      merge.count = parts;
      merge.heads = static_cast<int>(heads);
      merge.head_dim = head_dim;
      merge.first_column = slice.begin - slice.FirstHead(head_dim) * head_dim;
      merge.width = width;
      merge.out = Floats(out) + row * out.stride;
      kernels_.merge(merge);
    }
  });
}

}  // namespace

bool IsaSupported(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
  }
  if (isa == Isa::kAvx2) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  }
#endif
  return isa == Isa::kPortable;
}

Isa DetectIsa() {
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
    if (IsaSupported(isa)) return isa;
  }
  return Isa::kPortable;
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  const Isa isa = options.isa == Isa::kAuto ? DetectIsa() : options.isa;
  if (!IsaSupported(isa)) {
    return absl::FailedPreconditionError(absl::StrCat("--isa ", std::string(Name(isa)),
                                                      ": this processor does not have it; use ",
                                                      std::string(Name(DetectIsa())), " or portable"));
  }
  return std::make_unique<CpuBackend>(options, isa);
}

}  // namespace longspan
