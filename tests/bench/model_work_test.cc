#include "bench/model_work.h"

#include <gtest/gtest.h>

#include "tests/model/test_files.h"
#include "tests/tools/random_model.h"

namespace longspan::bench {
namespace {

double OperationsOf(const std::vector<Arithmetic>& parts, const std::vector<Roof>& roofs) {
  double operations = 0;
  for (const Arithmetic& part : parts) operations += part.roofs == roofs ? part.operations : 0;
  return operations;
}

const std::vector<Roof> kInt8 = {Roof::kInt8Dot}, kF32OrBf16 = {Roof::kF32Fma, Roof::kBf16Dot};

std::unique_ptr<ModelSource> Open(const RandomModelSpec& spec, const TempFolder& folder) {
  EXPECT_TRUE(WriteRandomModel(spec, folder / "m.gguf").ok());
  auto source = ModelSource::Open(folder / "m.gguf");
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

// Hidden 256, 4 heads and 2 KV heads of 64, FFN 512, two layers: 2 · 2 · 256 · (256 + 2 · 128 + 256 + 3 ·
// 512) operations of products a token; a row of logits 2 · 256 · 1024.
constexpr double kPerToken = 4.0 * 256 * 2304, kPerRow = 2.0 * 256 * 1024;

TEST(ModelWorkTest, CountsProductsByWhatBoundsThem) {
  TempFolder folder;
  for (const bool tied : {false, true}) {
    const auto source = Open({.format = DType::kQ8_0, .tied = tied}, folder);
    const auto parts = ModelWork(*source).ArithmeticOf(/*first_position=*/0, /*rows=*/10, /*logit_rows=*/3);
    EXPECT_EQ(OperationsOf(parts, kInt8), 10 * kPerToken + 3 * kPerRow) << "tied " << tied;
    // Two layers; 1 + 2 + … + 10 pairs.
    EXPECT_EQ(OperationsOf(parts, kF32OrBf16), 2 * 55 * 4.0 * 4 * 64) << "tied " << tied;
  }
  const auto source = Open({.format = DType::kBF16}, folder);
  const auto parts = ModelWork(*source).ArithmeticOf(0, 1, 1);
  EXPECT_EQ(OperationsOf(parts, kInt8), 0);
  EXPECT_EQ(OperationsOf(parts, kF32OrBf16), kPerToken + kPerRow + 2 * 4.0 * 4 * 64);
}

TEST(ModelWorkTest, WindowsBoundWhatIsSeen) {
  TempFolder folder;
  const auto source =
      Open({.family = "gemma3", .layers = 4, .format = DType::kQ8_0, .window = 8, .pattern = 4}, folder);
  const ModelWork work(*source);
  // Three sliding layers and a full one, 2 KV heads of 64 in bf16, keys and values.
  EXPECT_EQ(work.KvBytes(/*position=*/0), 4 * 512.0);
  EXPECT_EQ(work.KvBytes(99), (3 * 8 + 100) * 512.0);
  const auto parts = work.ArithmeticOf(99, 1, 1);
  EXPECT_EQ(OperationsOf(parts, kF32OrBf16), (3 * 8 + 100) * 4.0 * 4 * 64);
}

}  // namespace
}  // namespace longspan::bench
