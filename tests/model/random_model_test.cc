#include "tests/tools/random_model.h"

#include <cmath>
#include <cstring>

#include "runtime/model/model_source.h"
#include "tests/model/test_files.h"

namespace longspan {
namespace {

TEST(RandomModelTest, EveryFormatOpens) {
  TempFolder folder;
  for (const char* family : {"llama", "qwen2", "qwen3", "gemma2", "gemma3"}) {
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                               DType::kQ5_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      const RandomModelSpec spec{.family = family, .format = format};
      ASSERT_TRUE(WriteRandomModel(spec, folder / "m.gguf").ok());
      const auto source = ModelSource::Open(folder / "m.gguf");
      ASSERT_TRUE(source.ok()) << source.status();
      EXPECT_EQ((*source)->Weight(WeightRole::kGate, 1).entry->dtype, format);
      EXPECT_EQ((*source)->config().num_layers, 2);
    }
  }
  EXPECT_FALSE(WriteRandomModel({.family = "gpt2"}, folder / "m.gguf").ok());
  EXPECT_FALSE(WriteRandomModel({}, folder / "absent/m.gguf").ok());
}

TEST(RandomModelTest, FallsBackToF16WhereBlocksDoNotFit) {
  TempFolder folder;
  const RandomModelSpec spec{.layers = 1,
                             .hidden = 896,
                             .heads = 14,
                             .kv_heads = 2,
                             .head_dim = 64,
                             .ffn = 3696,
                             .vocab = 64,
                             .format = DType::kQ8_0};
  ASSERT_TRUE(WriteRandomModel(spec, folder / "m.gguf").ok());
  const auto source = ModelSource::Open(folder / "m.gguf");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->Weight(WeightRole::kDown).entry->dtype, DType::kF16);
  EXPECT_EQ((*source)->Weight(WeightRole::kUp).entry->dtype, DType::kQ8_0);
}

TEST(RandomModelTest, TheSeedDecidesTheBytes) {
  TempFolder folder;
  RandomModelSpec spec{.format = DType::kQ4_K, .seed = 5};
  ASSERT_TRUE(WriteRandomModel(spec, folder / "a.gguf").ok());
  ASSERT_TRUE(WriteRandomModel(spec, folder / "b.gguf").ok());
  EXPECT_EQ(ReadFile(folder / "a.gguf"), ReadFile(folder / "b.gguf"));
  spec.seed = 6;
  ASSERT_TRUE(WriteRandomModel(spec, folder / "b.gguf").ok());
  EXPECT_NE(ReadFile(folder / "a.gguf"), ReadFile(folder / "b.gguf"));
}

TEST(RandomModelTest, MatricesHaveUnitGain) {
  TempFolder folder;
  ASSERT_TRUE(WriteRandomModel({.family = "llama"}, folder / "m.gguf").ok());
  const auto source = ModelSource::Open(folder / "m.gguf");
  ASSERT_TRUE(source.ok()) << source.status();
  const WeightView up = (*source)->Weight(WeightRole::kUp);
  std::vector<float> values(static_cast<size_t>(up.rows * up.columns));
  std::memcpy(values.data(), up.entry->data, up.entry->bytes);
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  EXPECT_NEAR(squares / static_cast<double>(up.rows), 1.0, 0.02);
  const WeightView norm = (*source)->Weight(WeightRole::kFfnNorm);
  for (int64_t i = 0; i < norm.columns; ++i) {
    float value = 0;
    std::memcpy(&value, norm.entry->data + static_cast<size_t>(i) * sizeof(value), sizeof(value));
    EXPECT_NEAR(value, 1.0f, 0.2f);
  }
}

}  // namespace
}  // namespace longspan
