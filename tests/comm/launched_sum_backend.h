// A backend that knows how to sum and nothing else, in stream order on any stream of host memory.
#pragma once

#include <memory>
#include <utility>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace longspan {

class LaunchedSumBackend final : public Backend {
 public:
  LaunchedSumBackend() {
    absl::StatusOr<std::unique_ptr<Backend>> cpu = CreateCpuBackend({});
    LONGSPAN_CHECK(cpu.ok());
    cpu_ = *std::move(cpu);
    cpu_stream_ = cpu_->device().NewStream();
  }

  Device& device() override { return cpu_->device(); }
  int threads() const override { return 1; }
  void HostFor(int64_t, absl::FunctionRef<void(int64_t, int)>) override { LONGSPAN_CHECK(false); }

  void SumParts(Stream& stream, const float* parts, int count, int64_t elements, float* out) override {
    stream.Launch([this, parts, count, elements, out] {
      cpu_->SumParts(*cpu_stream_, parts, count, elements, out);
      return cpu_stream_->Synchronize();
    });
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(const WeightSlice&) override {
    return absl::UnimplementedError("a backend that only sums");
  }
  void Embed(Stream&, const Weight&, const int32_t*, float, Tensor) override { LONGSPAN_CHECK(false); }
  void ResidualNorm(Stream&, Tensor, Tensor, const float*, const float*, float, Tensor) override {
    LONGSPAN_CHECK(false);
  }
  void Linear(Stream&, std::span<const Weight* const>, Tensor, std::span<const Tensor>) override {
    LONGSPAN_CHECK(false);
  }
  void GatedActivation(Stream&, bool, Tensor, Tensor, Tensor) override { LONGSPAN_CHECK(false); }
  void RopeAppend(Stream&, const RopeAppendArgs&) override { LONGSPAN_CHECK(false); }
  void PagedAttention(Stream&, const AttentionArgs&) override { LONGSPAN_CHECK(false); }
  void PackPartials(Stream&, Tensor, Tensor, int, std::span<const HeadSlice>, float*) override {
    LONGSPAN_CHECK(false);
  }
  void MergePartials(Stream&, const float*, int, HeadSlice, int, const int32_t*, Tensor) override {
    LONGSPAN_CHECK(false);
  }
  void InterleaveColumns(Stream&, const float*, std::span<const int64_t>, Tensor) override {
    LONGSPAN_CHECK(false);
  }
  void SoftCap(Stream&, Tensor, float) override { LONGSPAN_CHECK(false); }
  void GatherRows(Stream&, Tensor, const int32_t*, Tensor) override { LONGSPAN_CHECK(false); }
  void ScatterRows(Stream&, Tensor, const int32_t*, Tensor) override { LONGSPAN_CHECK(false); }

 private:
  std::unique_ptr<Backend> cpu_;
  std::unique_ptr<Stream> cpu_stream_;
};

}  // namespace longspan
