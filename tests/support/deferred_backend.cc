#include "tests/support/deferred_backend.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "tests/support/deferred_stream.h"
#include "tests/support/hidden_arena.h"

namespace longspan {
namespace {

class ArenaStream final : public DeferredStream {
 public:
  ArenaStream(std::shared_ptr<HiddenArena> arena, const DeferredStreamOptions& options)
      : DeferredStream(options), arena_(std::move(arena)) {}
  // Work may ask for addresses, so it ends before the part of the object that knows them.
  ~ArenaStream() override { (void)Synchronize(); }

  void* WorkAddress(void* device_address) const override { return arena_->WorkAddress(device_address); }

 private:
  const std::shared_ptr<HiddenArena> arena_;
};

class DeferredDevice final : public Device {
 public:
  DeferredDevice(std::shared_ptr<HiddenArena> arena, const DeferredBackendOptions& options)
      : arena_(std::move(arena)), options_(options), next_seed_(options.seed) {}

  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override {
    if (bytes == 0) return DeviceBuffer();
    absl::StatusOr<std::byte*> data = arena_->Allocate(bytes);
    if (!data.ok()) return data.status();
    return DeviceBuffer(*data, bytes,
                        [arena = arena_](void* p, size_t) { arena->Free(static_cast<std::byte*>(p)); });
  }

  std::unique_ptr<Stream> NewStream() override {
    DeferredStreamOptions stream_options;
    stream_options.max_delay = options_.max_delay;
    stream_options.seed = next_seed_++;
    return std::make_unique<ArenaStream>(arena_, stream_options);
  }

  void CopyToDevice(Stream& stream, void* device, const void* host, size_t bytes) override {
    Copy(stream, arena_->WorkAddress(device), host, bytes);
  }
  void CopyToHost(Stream& stream, void* host, const void* device, size_t bytes) override {
    Copy(stream, host, arena_->WorkAddress(device), bytes);
  }

 private:
  static void Copy(Stream& stream, void* to, const void* from, size_t bytes) {
    stream.Launch([=] {
      if (bytes > 0) std::memcpy(to, from, bytes);
      return absl::OkStatus();
    });
  }

  const std::shared_ptr<HiddenArena> arena_;
  const DeferredBackendOptions options_;
  std::atomic<uint64_t> next_seed_;
};

class DeferredBackend final : public Backend {
 public:
  DeferredBackend(std::unique_ptr<Backend> cpu, std::shared_ptr<HiddenArena> arena,
                  const DeferredBackendOptions& options)
      : cpu_(std::move(cpu)),
        cpu_stream_(cpu_->device().NewStream()),
        arena_(std::move(arena)),
        device_(arena_, options) {}

  Device& device() override { return device_; }
  int threads() const override { return cpu_->threads(); }
  void HostFor(int64_t count, absl::FunctionRef<void(int64_t, int)> body) override {
    std::lock_guard lock(mutex_);
    cpu_->HostFor(count, body);
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(const WeightSlice& slice) override {
    std::lock_guard lock(mutex_);
    return cpu_->LoadWeight(slice);
  }

  void Embed(Stream& stream, const Weight& table, const int32_t* ids, float scale, Tensor out) override {
    Defer(stream, [&table, ids = Alias(ids), scale, out = Alias(out)](Backend& cpu, Stream& inline_stream) {
      cpu.Embed(inline_stream, table, ids, scale, out);
    });
  }

  void ResidualNorm(Stream& stream, Tensor x, Tensor update, const float* post_norm, const float* norm,
                    float epsilon, Tensor out) override {
    Defer(stream, [x = Alias(x), update = Alias(update), post_norm = Alias(post_norm), norm = Alias(norm),
                   epsilon, out = Alias(out)](Backend& cpu, Stream& inline_stream) {
      cpu.ResidualNorm(inline_stream, x, update, post_norm, norm, epsilon, out);
    });
  }

  void Linear(Stream& stream, std::span<const Weight* const> weights, Tensor x,
              std::span<const Tensor> outs) override {
    std::vector<Tensor> aliases;
    for (const Tensor& out : outs) aliases.push_back(Alias(out));
    Defer(stream, [weights = std::vector<const Weight*>(weights.begin(), weights.end()), x = Alias(x),
                   outs = std::move(aliases)](Backend& cpu, Stream& inline_stream) {
      cpu.Linear(inline_stream, weights, x, outs);
    });
  }

  void GatedActivation(Stream& stream, bool gelu_tanh, Tensor gate, Tensor up, Tensor out) override {
    Defer(stream, [gelu_tanh, gate = Alias(gate), up = Alias(up), out = Alias(out)](Backend& cpu,
                                                                                    Stream& inline_stream) {
      cpu.GatedActivation(inline_stream, gelu_tanh, gate, up, out);
    });
  }

  void RopeAppend(Stream& stream, const RopeAppendArgs& args) override {
    RopeAppendArgs aliased = args;
    aliased.qkv = Alias(args.qkv);
    aliased.qkv_bias = Alias(args.qkv_bias);
    aliased.query_norm = Alias(args.query_norm);
    aliased.key_norm = Alias(args.key_norm);
    aliased.cosines = Alias(args.cosines);
    aliased.sines = Alias(args.sines);
    aliased.plan = Alias(args.plan);
    aliased.kv.base = Alias(args.kv.base);
    aliased.queries = Alias(args.queries);
    Defer(stream, [aliased](Backend& cpu, Stream& inline_stream) { cpu.RopeAppend(inline_stream, aliased); });
  }

  void PagedAttention(Stream& stream, const AttentionArgs& args) override {
    AttentionArgs aliased = args;
    aliased.queries = Alias(args.queries);
    aliased.kv.base = Alias(args.kv.base);
    aliased.plan = Alias(args.plan);
    aliased.partials = Alias(args.partials);
    aliased.lse = Alias(args.lse);
    aliased.split_space = Alias(args.split_space);
    Defer(stream,
          [aliased](Backend& cpu, Stream& inline_stream) { cpu.PagedAttention(inline_stream, aliased); });
  }

  void PackPartials(Stream& stream, Tensor partials, Tensor lse, int head_dim,
                    std::span<const HeadSlice> slices, float* packed) override {
    Defer(stream, [partials = Alias(partials), lse = Alias(lse), head_dim,
                   slices = std::vector<HeadSlice>(slices.begin(), slices.end()),
                   packed = Alias(packed)](Backend& cpu, Stream& inline_stream) {
      cpu.PackPartials(inline_stream, partials, lse, head_dim, slices, packed);
    });
  }

  void MergePartials(Stream& stream, const float* received, int parts, HeadSlice slice, int head_dim,
                     const int32_t* shifts, Tensor out) override {
    Defer(stream, [received = Alias(received), parts, slice, head_dim, shifts = Alias(shifts),
                   out = Alias(out)](Backend& cpu, Stream& inline_stream) {
      cpu.MergePartials(inline_stream, received, parts, slice, head_dim, shifts, out);
    });
  }

  void InterleaveColumns(Stream& stream, const float* parts, std::span<const int64_t> widths,
                         Tensor out) override {
    Defer(stream, [parts = Alias(parts), widths = std::vector<int64_t>(widths.begin(), widths.end()),
                   out = Alias(out)](Backend& cpu, Stream& inline_stream) {
      cpu.InterleaveColumns(inline_stream, parts, widths, out);
    });
  }

  void GatherRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) override {
    Defer(stream, [x = Alias(x), index = Alias(index), out = Alias(out)](
                      Backend& cpu, Stream& inline_stream) { cpu.GatherRows(inline_stream, x, index, out); });
  }

  void ScatterRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) override {
    Defer(stream,
          [x = Alias(x), index = Alias(index), out = Alias(out)](Backend& cpu, Stream& inline_stream) {
            cpu.ScatterRows(inline_stream, x, index, out);
          });
  }

  void SoftCap(Stream& stream, Tensor x, float cap) override {
    Defer(stream,
          [x = Alias(x), cap](Backend& cpu, Stream& inline_stream) { cpu.SoftCap(inline_stream, x, cap); });
  }

  void SumParts(Stream& stream, const float* parts, int count, int64_t elements, float* out) override {
    Defer(stream,
          [parts = Alias(parts), count, elements, out = Alias(out)](Backend& cpu, Stream& inline_stream) {
            cpu.SumParts(inline_stream, parts, count, elements, out);
          });
  }

 private:
  template <typename T>
  T* Alias(T* device_address) const {
    return static_cast<T*>(arena_->WorkAddress(device_address));
  }
  Tensor Alias(Tensor tensor) const {
    tensor.data = Alias(tensor.data);
    return tensor;
  }
  DevicePlan Alias(DevicePlan plan) const {
    plan.blocks = Alias(plan.blocks);
    plan.pages = Alias(plan.pages);
    plan.classes = Alias(plan.classes);
    plan.items = Alias(plan.items);
    plan.slots = Alias(plan.slots);
    return plan;
  }

  template <typename Operation>
  void Defer(Stream& stream, Operation operation) {
    stream.Launch([this, operation = std::move(operation)] {
      std::lock_guard lock(mutex_);
      operation(*cpu_, *cpu_stream_);
      return cpu_stream_->Synchronize();
    });
  }

  const std::unique_ptr<Backend> cpu_;
  const std::unique_ptr<Stream> cpu_stream_;
  const std::shared_ptr<HiddenArena> arena_;
  DeferredDevice device_;
  std::mutex mutex_;  // the CPU backend is used by one thread at a time
};

}  // namespace

std::unique_ptr<Backend> CreateDeferredBackend(std::unique_ptr<Backend> cpu,
                                               const DeferredBackendOptions& options) {
  auto arena = HiddenArena::Create(options.memory_bytes);
  LONGSPAN_CHECK(arena.ok());
  return std::make_unique<DeferredBackend>(std::move(cpu), std::shared_ptr<HiddenArena>(*std::move(arena)),
                                           options);
}

}  // namespace longspan
