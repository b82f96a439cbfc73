// Paged attention against a reference in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "tests/kernels/paged_kv.h"
#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

struct Shape {
  int heads, kv_heads, head_dim, block_size;
  DType dtype;
  int64_t window;
  int64_t min_items;
  float score_cap = 0;
};

constexpr Shape kShapes[] = {
    {2, 2, 16, 16, DType::kBF16, 0, 1},      {2, 2, 16, 16, DType::kF32, 0, 1},
    {8, 2, 64, 64, DType::kBF16, 0, 1},      {8, 2, 64, 16, DType::kF32, 40, 1},
    {4, 1, 80, 16, DType::kBF16, 40, 1},     {3, 3, 80, 64, DType::kF32, 0, 1000},
    {12, 1, 128, 128, DType::kBF16, 0, 1},   {4, 4, 128, 16, DType::kBF16, 1, 1000},
    {4, 1, 256, 64, DType::kBF16, 100, 1},   {1, 1, 256, 128, DType::kF32, 33, 1000},
    {12, 1, 16, 128, DType::kBF16, 0, 1000}, {80, 1, 16, 16, DType::kBF16, 0, 1},
    {4, 2, 64, 16, DType::kBF16, 0, 1, 5},   {8, 2, 32, 64, DType::kF32, 70, 1000, 0.5f}};

std::string Describe(const Shape& s) {
  return std::to_string(s.heads) + " heads, " + std::to_string(s.kv_heads) + " KV heads, head_dim " +
         std::to_string(s.head_dim) + ", blocks of " + std::to_string(s.block_size) + ", window " +
         std::to_string(s.window) + ", cap " + std::to_string(s.score_cap) + ", " +
         std::string(Traits(s.dtype).name);
}

// A sequence whose keys and values are all in one rank's memory.
struct StoredSequence {
  int64_t first_position = 0, rows = 0;
  std::vector<float> keys, values;  // [tokens][kv_heads][head_dim], as stored
  std::vector<int64_t> block_indices;
  std::vector<int32_t> pages;

  int64_t tokens() const { return first_position + rows; }
};

StoredSequence Store(PagedKv& kv, const Shape& shape, int pages_per_block, int64_t first_position,
                     int64_t rows, RandomValues& random) {
  StoredSequence s;
  s.first_position = first_position;
  s.rows = rows;
  const int64_t values = s.tokens() * shape.kv_heads * shape.head_dim;
  s.keys = random.Floats(values);
  s.values = random.Floats(values);
  if (shape.dtype == DType::kBF16) {
    for (float& k : s.keys) k = Bf16ToF32(F32ToBf16(k));
    for (float& v : s.values) v = Bf16ToF32(F32ToBf16(v));
  }
  for (int64_t t = 0; t < s.tokens(); ++t) {
    const int64_t block = t / shape.block_size;
    if (t % shape.block_size == 0) {
      s.block_indices.push_back(block);
      kv.AddBlock(s.pages);
    }
    for (int h = 0; h < shape.kv_heads; ++h) {
      for (int d = 0; d < shape.head_dim; ++d) {
        const size_t at = static_cast<size_t>((t * shape.kv_heads + h) * shape.head_dim + d);
        const int token = static_cast<int>(t % shape.block_size);
        kv.Write(&s.pages[static_cast<size_t>(block * pages_per_block)], h, token, 0, d, s.keys[at]);
        kv.Write(&s.pages[static_cast<size_t>(block * pages_per_block)], h, token, 1, d, s.values[at]);
      }
    }
  }
  return s;
}

// One query against the sequence in double precision.
struct ReferenceAttention {
  std::vector<double> out, tolerance;
  double lse = 0, lse_tolerance = 0;
};

ReferenceAttention Attend(const Shape& shape, const StoredSequence& s, int64_t position, int kv_head,
                          const float* query, double scale) {
  const auto d_count = static_cast<size_t>(shape.head_dim);
  const int64_t first = shape.window > 0 ? std::max<int64_t>(0, position - shape.window + 1) : 0;
  const auto row_of = [&](const std::vector<float>& rows, int64_t token) {
    return rows.data() + (token * shape.kv_heads + kv_head) * shape.head_dim;
  };
  std::vector<double> scores;
  double largest_magnitude = 0;
  for (int64_t t = first; t <= position; ++t) {
    double score = 0, magnitude = 0;
    for (size_t d = 0; d < d_count; ++d) {
      const double term = static_cast<double>(query[d]) * static_cast<double>(row_of(s.keys, t)[d]) * scale;
      score += term;
      magnitude += std::fabs(term);
    }
    scores.push_back(shape.score_cap > 0 ? shape.score_cap * std::tanh(score / shape.score_cap) : score);
    largest_magnitude = std::max(largest_magnitude, magnitude);
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double score : scores) sum += std::exp(score - top);
  // An absolute error of a score is a relative error of its weight, and of the sum of weights.
  const double score_error = (shape.score_cap > 0 ? 8 : 4) * FLT_EPSILON * largest_magnitude;
  const double relative = 8 * FLT_EPSILON + 2 * score_error;
  ReferenceAttention result;
  result.out.resize(d_count);
  result.tolerance.resize(d_count);
  for (int64_t t = first; t <= position; ++t) {
    const double weight = std::exp(scores[static_cast<size_t>(t - first)] - top) / sum;
    for (size_t d = 0; d < d_count; ++d) {
      const double term = weight * static_cast<double>(row_of(s.values, t)[d]);
      result.out[d] += term;
      result.tolerance[d] += relative * std::fabs(term);
    }
  }
  result.lse = top + std::log(sum);
  result.lse_tolerance = relative + 2 * FLT_EPSILON * std::fabs(result.lse);
  return result;
}

struct Attended {
  std::vector<float> out, lse;  // [rows, heads * head_dim], [rows, heads]
};

Attended RunAttention(TestDevice& device, PagedKv& kv, const Shape& shape, int pages_per_block,
                      const std::vector<StoredSequence>& sequences, const std::vector<float>& queries,
                      float scale) {
  std::vector<AttentionSequence> planned;
  int64_t rows = 0;
  for (const StoredSequence& s : sequences) {
    planned.push_back({rows, s.rows, s.first_position, s.block_indices, s.pages, 0});
    rows += s.rows;
  }
  AttentionPlanOptions options;
  options.block_size = shape.block_size;
  options.window = shape.window;
  options.pages_per_block = pages_per_block;
  options.min_items = shape.min_items;
  const AttentionPlan plan = PlanAttention(planned, rows, options);
  AttentionArgs args;
  args.queries = device.UploadMatrix(queries, rows, shape.heads * shape.head_dim);
  args.heads = shape.heads;
  args.query_scale = scale;
  args.score_cap = shape.score_cap;
  args.kv = kv.Upload(device);
  args.plan = UploadPlan(device, plan, shape.window);
  args.partials = device.AllocateMatrix(rows, shape.heads * shape.head_dim);
  args.lse = device.AllocateMatrix(rows, shape.heads);
  args.split_space =
      device.Allocate<float>(static_cast<size_t>(plan.splits * rows * shape.heads * (shape.head_dim + 1)));
  device.backend().PagedAttention(device.stream(), args);
  return {device.DownloadMatrix(args.partials), device.DownloadMatrix(args.lse)};
}

class AttentionTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, AttentionTest, testing::ValuesIn(SupportedIsas()), IsaTestName);

TEST_P(AttentionTest, AgreesWithTheReference) {
  TestDevice device(MakeCpuBackend(GetParam(), 2));
  int case_number = 0;
  for (const Shape& shape : kShapes) {
    const int pages_per_block = 1 + case_number % 2, page_column = case_number / 2 % pages_per_block;
    RandomValues random(50 + static_cast<uint64_t>(case_number++));
    const KvLayout layout = {shape.block_size, shape.head_dim, shape.kv_heads, shape.dtype};
    PagedKv kv(layout, 40, pages_per_block, page_column, random.Bits());
    std::vector<StoredSequence> sequences;
    for (auto [first, rows] : {std::pair{0, 5}, {150, 1}, {61, 13}}) {
      sequences.push_back(Store(kv, shape, pages_per_block, first, rows, random));
    }
    const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
    const std::vector<float> queries = random.Floats(19 * shape.heads * shape.head_dim, 4);
    const Attended actual = RunAttention(device, kv, shape, pages_per_block, sequences, queries, scale);
    int64_t row = 0;
    for (const StoredSequence& s : sequences) {
      for (int64_t r = 0; r < s.rows; ++r, ++row) {
        for (int head = 0; head < shape.heads; ++head) {
          const size_t at = static_cast<size_t>(row * shape.heads + head);
          const ReferenceAttention expected =
              Attend(shape, s, s.first_position + r, head / (shape.heads / shape.kv_heads),
                     &queries[at * static_cast<size_t>(shape.head_dim)], scale);
          ASSERT_NEAR(actual.lse[at], expected.lse, expected.lse_tolerance) << Describe(shape);
          for (size_t d = 0; d < expected.out.size(); ++d) {
            ASSERT_NEAR(actual.out[at * expected.out.size() + d], expected.out[d], expected.tolerance[d])
                << Describe(shape) << ": row " << row << ", head " << head << ", dimension " << d;
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, ARankWithoutKeysGivesZeroAndMinusInfinity) {
  TestDevice device(MakeCpuBackend(GetParam()));
  for (int64_t min_items : {1, 1000}) {
    PagedKv kv({16, 64, 1, DType::kBF16}, 4, 1, 0, 70);
    std::vector<AttentionSequence> planned = {{0, 2, 9, {}, {}, 1}};
    AttentionPlanOptions options;
    options.block_size = 16;
    options.kvp = 2;
    options.min_items = min_items;
    const AttentionPlan plan = PlanAttention(planned, 2, options);
    EXPECT_EQ(plan.slots[0].block, -1);
    AttentionArgs args;
    args.queries = device.UploadMatrix(RandomValues(71).Floats(2 * 128), 2, 128);
    args.heads = 2;
    args.kv = kv.Upload(device);
    args.plan = UploadPlan(device, plan, 0);
    args.partials = device.AllocateMatrix(2, 128);
    args.lse = device.AllocateMatrix(2, 2);
    args.split_space = device.Allocate<float>(4 * 2 * 2 * 65);
    device.backend().PagedAttention(device.stream(), args);
    for (float value : device.DownloadMatrix(args.partials)) EXPECT_EQ(value, 0);
    for (float value : device.DownloadMatrix(args.lse)) EXPECT_EQ(value, -INFINITY);
  }
}

// With one visible key the log-sum-exp is its score.
TEST_P(AttentionTest, TheScoreCapIsAccurateForEveryScore) {
  TestDevice device(MakeCpuBackend(GetParam()));
  std::vector<float> scores = {0, 1e-30f, 1e-4f, 1e30f, FLT_MAX, INFINITY};
  for (float s = 1e-3f; s < 2e3f; s *= 1.003f) scores.push_back(s);
  const int64_t rows = static_cast<int64_t>(scores.size());
  for (float cap : {0.5f, 30.0f, 50.0f}) {
    for (float sign : {1.0f, -1.0f}) {
      const Shape shape = {1, 1, 16, 64, DType::kF32, 1, 1, cap};
      PagedKv kv({64, 16, 1, DType::kF32}, 100, 1, 0, 74);
      StoredSequence sequence = {0, rows, {}, {}, {}, {}};
      std::vector<float> queries(scores.size() * 16);
      for (size_t i = 0; i < scores.size(); ++i) {
        if (i % 64 == 0) {
          sequence.block_indices.push_back(static_cast<int64_t>(i / 64));
          kv.AddBlock(sequence.pages);
        }
        for (int d = 0; d < 16; ++d) {
          kv.Write(&sequence.pages[i / 64], 0, static_cast<int>(i % 64), 0, d, d == 0);
          kv.Write(&sequence.pages[i / 64], 0, static_cast<int>(i % 64), 1, d, 1);
        }
        queries[16 * i] = sign * scores[i];
      }
      const Attended result = RunAttention(device, kv, shape, 1, {sequence}, queries, 1);
      for (size_t i = 0; i < scores.size(); ++i) {
        const double c = static_cast<double>(cap);
        const double expected = c * std::tanh(static_cast<double>(sign * scores[i]) / c);
        ASSERT_NEAR(result.lse[i], expected, 5 * FLT_EPSILON * std::fabs(expected))
            << "score " << sign * scores[i] << ", cap " << cap;
      }
    }
  }
}

TEST_P(AttentionTest, ANanKeyShowsInTheRowsThatSeeItAndInNoOthers) {
  TestDevice device(MakeCpuBackend(GetParam()));
  for (int64_t min_items : {1, 1000}) {
    const Shape shape = {4, 2, 64, 16, DType::kBF16, 0, min_items, min_items == 1 ? 0.0f : 30.0f};
    PagedKv kv({16, 64, 2, DType::kBF16}, 40, 1, 0, 72);
    RandomValues random(73);
    std::vector<StoredSequence> sequences;
    sequences.push_back(Store(kv, shape, 1, 20, 12, random));
    sequences.push_back(Store(kv, shape, 1, 20, 2, random));
    kv.Write(&sequences[0].pages[1], /*head=*/1, /*token=*/25 - 16, /*which=*/0, 3, std::nanf(""));
    const Attended result = RunAttention(device, kv, shape, 1, sequences, random.Floats(14 * 256), 0.125f);
    for (int64_t row = 0; row < 14; ++row) {
      for (int head = 0; head < 4; ++head) {
        const bool sees = row < 12 && 20 + row >= 25 && head >= 2;
        for (int d = 0; d < 64; ++d) {
          ASSERT_EQ(std::isnan(result.out[static_cast<size_t>((row * 4 + head) * 64 + d)]), sees)
              << "row " << row << ", head " << head;
        }
      }
    }
  }
}

}  // namespace
}  // namespace longspan
