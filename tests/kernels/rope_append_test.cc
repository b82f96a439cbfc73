// Rotary embedding with the append to pages, against a reference in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/paged_kv.h"
#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

// Normalisation and rotation of one head in double precision.
std::vector<double> Rotated(const float* x, const std::vector<float>* norm, double epsilon,
                            const float* cosines, const float* sines, int head_dim) {
  std::vector<double> in(x, x + head_dim), out(in.size());
  if (norm != nullptr) {
    double squares = 0;
    for (double v : in) squares += v * v;
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] *= static_cast<double>((*norm)[i]) / std::sqrt(squares / head_dim + epsilon);
    }
  }
  const size_t half = in.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    const double c = cosines[i], s = sines[i];
    out[i] = in[i] * c - in[i + half] * s;
    out[i + half] = in[i + half] * c + in[i] * s;
  }
  return out;
}

constexpr int kRows = 9, kBlockSize = 16,
              kFirstPosition = 12;  // four rows are in block 0, the others in block 1
constexpr int kOwnedRows = 4;
constexpr float kEpsilon = 1e-6f;

struct Shape {
  int heads, kv_heads, head_dim;
  DType dtype;
  bool normed;
  bool biased;

  int64_t width() const { return (heads + 2 * kv_heads) * head_dim; }
};

struct Inputs {
  Inputs(const Shape& shape, RandomValues random)
      : qkv(random.Floats(kRows * shape.width(), 2)),
        bias(random.Floats(shape.width(), 2)),
        query_norm(random.Floats(shape.head_dim)),
        key_norm(random.Floats(shape.head_dim)),
        cosines(random.Floats(kRows * shape.head_dim / 2)),
        sines(random.Floats(kRows * shape.head_dim / 2)) {}

  // Head `head` of row `row` of the joint matrix, which keys follow after the queries.
  std::vector<double> Expected(const Shape& shape, int row, int head) const {
    const std::vector<float>& norm = head < shape.heads ? query_norm : key_norm;
    const auto angles = static_cast<size_t>(row * shape.head_dim / 2);
    return Rotated(Biased(shape, row, head).data(), shape.normed ? &norm : nullptr, kEpsilon,
                   &cosines[angles], &sines[angles], shape.head_dim);
  }

  // Head `head` of row `row` of the joint matrix with the bias added, as the kernel does, in float32.
  std::vector<float> Biased(const Shape& shape, int row, int head) const {
    std::vector<float> x;
    for (int c = head * shape.head_dim; c < (head + 1) * shape.head_dim; ++c) {
      x.push_back(qkv[static_cast<size_t>(row * shape.width() + c)] +
                  (shape.biased ? bias[static_cast<size_t>(c)] : 0.0f));
    }
    return x;
  }

  std::vector<float> qkv, bias, query_norm, key_norm, cosines, sines;
};

// Runs RopeAppend on a rank that holds block 0, in `pages`, and not block 1. Returns the queries.
std::vector<float> RunRopeAppend(TestDevice& device, const Shape& shape, const Inputs& inputs, PagedKv& kv,
                                 const std::vector<int32_t>& pages) {
  const std::vector<int64_t> blocks = {0};
  const std::vector<AttentionSequence> sequences = {{0, kRows, kFirstPosition, blocks, pages, 0}};
  AttentionPlanOptions options;
  options.block_size = kBlockSize;
  options.kvp = 2;
  options.pages_per_block = 2;
  RopeAppendArgs args;
  args.qkv = device.UploadMatrix(inputs.qkv, kRows, shape.width());
  if (shape.biased) args.qkv_bias = device.Upload(inputs.bias);
  args.heads = shape.heads;
  args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim;
  if (shape.normed) {
    args.query_norm = device.Upload(inputs.query_norm);
    args.key_norm = device.Upload(inputs.key_norm);
  }
  args.norm_epsilon = kEpsilon;
  args.cosines = device.Upload(inputs.cosines);
  args.sines = device.Upload(inputs.sines);
  args.plan = UploadPlan(device, PlanAttention(sequences, kRows, options), 0);
  args.kv = kv.Upload(device);
  args.queries = device.AllocateMatrix(kRows, shape.heads * shape.head_dim);
  device.backend().RopeAppend(device.stream(), args);
  std::vector<float> queries = device.DownloadMatrix(args.queries);
  kv.Download(device);
  return queries;
}

class RopeAppendTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, RopeAppendTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(RopeAppendTest, RotatesQueriesAndStoresOwnedRows) {
  constexpr double kTolerance = 3e-6;  // inputs are below 4: a few units in the last place
  for (const Shape& shape : {Shape{4, 2, 64, DType::kBF16, true, false},
                             {3, 3, 80, DType::kF32, false, false},
                             {4, 1, 256, DType::kF32, true, true},
                             {4, 2, 64, DType::kF32, false, true},
                             {2, 1, 16, DType::kBF16, false, false}}) {
    TestDevice device(MakeCpuBackend(GetParam(), 2));
    const Inputs inputs(shape, RandomValues(60));
    const int d = shape.head_dim;
    PagedKv kv({kBlockSize, d, shape.kv_heads, shape.dtype}, 6, 2, 1, 61);
    const std::vector<std::byte> before = kv.image();
    std::vector<int32_t> pages;
    kv.AddBlock(pages);
    const std::vector<float> queries = RunRopeAppend(device, shape, inputs, kv, pages);

    for (int i = 0; i < kRows * shape.heads * d; ++i) {
      const int row = i / (shape.heads * d), head = i / d % shape.heads;
      ASSERT_NEAR(queries[static_cast<size_t>(i)],
                  inputs.Expected(shape, row, head)[static_cast<size_t>(i % d)], kTolerance);
    }
    const double rounding = shape.dtype == DType::kBF16 ? 1.0 / 256 : 0;
    for (int i = 0; i < kOwnedRows * shape.kv_heads * d; ++i) {
      const int row = i / (shape.kv_heads * d), head = i / d % shape.kv_heads, at = i % d;
      const double key = inputs.Expected(shape, row, shape.heads + head)[static_cast<size_t>(at)];
      const float value =
          inputs.Biased(shape, row, shape.heads + shape.kv_heads + head)[static_cast<size_t>(at)];
      const int token = kFirstPosition + row;
      ASSERT_NEAR(kv.Read(pages.data(), head, token, 0, at), key, rounding * std::fabs(key) + kTolerance);
      ASSERT_NEAR(kv.Read(pages.data(), head, token, 1, at), value, rounding * std::fabs(value));
    }
    int64_t changed = 0;
    for (size_t i = 0; i < before.size(); ++i) changed += before[i] != kv.image()[i];
    EXPECT_LE(changed, kOwnedRows * 2 * shape.kv_heads * d * Traits(shape.dtype).block_bytes)
        << "bytes outside the owned rows";
  }
}

}  // namespace
}  // namespace longspan
