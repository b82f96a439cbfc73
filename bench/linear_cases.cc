#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/kernel_cases.h"
#include "kernels/check.h"
#include "tests/support/random_values.h"
#include "tests/tools/random_model.h"

namespace longspan::bench {
namespace {

constexpr DType kFormats[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                              DType::kQ5_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr int64_t kRows[] = {1, 8, 16, 128, 512};

struct Shape {
  int64_t outputs = 0, inputs = 0;
  int leaves = 1;  // as the decoder has them: kReductionWays in output and down projections, else one
};
constexpr Shape kShapes[] = {{2048, 2048, 1}, {2048, 8192, kReductionWays}, {640, 2048, kReductionWays}};

DeviceBuffer Allocate(Backend& backend, size_t bytes) {
  auto buffer = backend.device().Allocate(bytes);
  LONGSPAN_CHECK(buffer.ok());
  return *std::move(buffer);
}

// Copies of one weight, at different places in memory, and rows to multiply with them.
class LinearWork {
 public:
  LinearWork(Backend& backend, DType format, const Shape& shape, size_t footprint_bytes, int64_t max_rows) {
    std::vector<std::byte> file(RowBytes(format, shape.inputs) * static_cast<size_t>(shape.outputs));
    FillRandomMatrix(format, shape.inputs, /*seed=*/1, file);
    WeightSlice slice;
    slice.dtype = format;
    slice.data = file.data();
    slice.file_columns = slice.column_end = shape.inputs;
    slice.row_end = shape.outputs;
    const int64_t groups = NumQuantGroups(shape.inputs);
    for (int i = 1; i <= shape.leaves; ++i) slice.leaf_ends.push_back(LeafBegin(groups, i, shape.leaves));
    for (size_t bytes = 0; bytes < footprint_bytes; bytes += weights_.back()->bytes()) {
      auto weight = backend.LoadWeight(slice);
      LONGSPAN_CHECK(weight.ok());
      weights_.push_back(*std::move(weight));
    }
    const std::vector<float> values = RandomValues(2).Floats(max_rows * shape.inputs);
    x_ = Allocate(backend, values.size() * sizeof(float));
    out_ = Allocate(backend, static_cast<size_t>(max_rows * shape.outputs) * sizeof(float));
    const auto stream = backend.device().NewStream();
    backend.device().CopyToDevice(*stream, x_.data(), values.data(), x_.bytes());
    LONGSPAN_CHECK(stream->Synchronize().ok());
  }

  size_t weight_bytes() const { return weights_[0]->bytes(); }

  // Multiplies with the next weight.
  void Run(Backend& backend, Stream& stream, int64_t rows) {
    const Weight* weight = weights_[next_].get();
    next_ = (next_ + 1) % weights_.size();
    const Tensor x = MakeTensor(x_.data(), DType::kF32, rows, weight->columns());
    const Tensor out = MakeTensor(out_.data(), DType::kF32, rows, weight->rows());
    backend.Linear(stream, {&weight, 1}, x, {&out, 1});
    LONGSPAN_CHECK(stream.Synchronize().ok());
  }

 private:
  std::vector<std::unique_ptr<Weight>> weights_;
  DeviceBuffer x_, out_;
  size_t next_ = 0;
};

void RunShape(DType format, const Shape& shape, const std::vector<BoundBackend>& backends,
              const KernelCaseOptions& options, Measurement& measurement) {
  const std::string prefix =
      absl::StrCat("linear/", std::string(Traits(format).name), "/", shape.outputs, "x", shape.inputs);
  std::unique_ptr<LinearWork> work;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Case> cases;
  for (const BoundBackend& bound : backends) {
    streams.push_back(bound.backend->device().NewStream());
    for (int64_t rows : kRows) {
      Case timed;
      timed.name = absl::StrCat(prefix, "/rows=", rows);
      timed.threads = bound.threads;
      if (!measurement.Wants(timed.name, timed.threads)) continue;
      if (work == nullptr) {
        // Loaded with the most threads; the layout does not depend on them.
        work = std::make_unique<LinearWork>(*backends.back().backend, format, shape, options.footprint_bytes,
                                            *std::max_element(std::begin(kRows), std::end(kRows)));
      }
      timed.run = [&work, &backend = *bound.backend, &stream = *streams.back(), rows] {
        work->Run(backend, stream, rows);
      };
      timed.bytes = static_cast<double>(work->weight_bytes());
      timed.footprint_bytes = options.footprint_bytes;
      timed.arithmetic = {{2.0 * static_cast<double>(shape.outputs * shape.inputs * rows), RoofsOf(format)}};
      cases.push_back(std::move(timed));
    }
  }
  measurement.Run(cases);
}

}  // namespace

void RunLinearCases(const std::vector<BoundBackend>& backends, const KernelCaseOptions& options,
                    Measurement& measurement) {
  for (DType format : kFormats) {
    for (const Shape& shape : kShapes) RunShape(format, shape, backends, options, measurement);
  }
}

}  // namespace longspan::bench
