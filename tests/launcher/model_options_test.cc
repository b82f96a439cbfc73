#include "launcher/model_options.h"

#include <gtest/gtest.h>
#include <CLI/CLI.hpp>

#include "launcher/exit_status.h"

namespace longspan {
namespace {

ModelConfig EightHeads() {
  ModelConfig config;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 64;
  return config;
}

ModelOptions WithModel() {
  ModelOptions options;
  options.model = "model.gguf";
  return options;
}

TEST(ModelOptionsTest, DefaultGridTakesAsMuchTpAsTheHeadsAllow) {
  EXPECT_EQ(ChooseGrid({}, EightHeads(), 1).value(), (RankGrid{1, 1}));
  EXPECT_EQ(ChooseGrid({}, EightHeads(), 4).value(), (RankGrid{4, 1}));
  EXPECT_EQ(ChooseGrid({}, EightHeads(), 8).value(), (RankGrid{4, 2}));
  EXPECT_EQ(ChooseGrid({}, EightHeads(), 6).value(), (RankGrid{2, 3}));
}

TEST(ModelOptionsTest, OneOfTheTwoDecidesTheOther) {
  ModelOptions options;
  options.tp = 2;
  EXPECT_EQ(ChooseGrid(options, EightHeads(), 8).value(), (RankGrid{2, 4}));
  options = {};
  options.kvp = 8;
  EXPECT_EQ(ChooseGrid(options, EightHeads(), 8).value(), (RankGrid{1, 8}));
}

TEST(ModelOptionsTest, RefusalsListTheValidPairs) {
  ModelOptions options;
  options.tp = 2;
  options.kvp = 3;
  const absl::Status status = ChooseGrid(options, EightHeads(), 4).status();
  EXPECT_EQ(ExitCode(status), 2);
  EXPECT_EQ(status.message(),
            "--tp 2 --kvp 3 cannot be had with 4 ranks and 4 KV heads; valid here: --tp 4 --kvp 1, "
            "--tp 2 --kvp 2, --tp 1 --kvp 4");
  options.tp = 8;  // more than there are KV heads
  options.kvp = 1;
  EXPECT_EQ(ExitCode(ChooseGrid(options, EightHeads(), 8).status()), 2);
}

TEST(ModelOptionsTest, ChecksWhatNeedsNoModel) {
  EXPECT_TRUE(CheckModelOptions(WithModel()).ok());
  EXPECT_EQ(ExitCode(CheckModelOptions({})), 2);

  ModelOptions options = WithModel();
  options.rank_invariant = false;
  EXPECT_EQ(ExitCode(CheckModelOptions(options)), 2);

  options = WithModel();
  options.device = DeviceChoice::kCuda;
  EXPECT_EQ(ExitCode(CheckModelOptions(options)), 1);
  EXPECT_NE(CheckModelOptions(options).message().find("no CUDA backend"), absl::string_view::npos);
}

TEST(ModelOptionsTest, FillsTheOptions) {
  ModelOptions options;
  CLI::App app;
  AddModelOptions(app, &options);
  app.parse(
      std::string("--model m --tp 2 --kvp 4 --block-size 128 --kv-dtype f32 --kv-bytes 1G --max-context 1000 "
                  "--activation-dtype f32 --chunk-tokens 64 --threads 3 --isa portable --device cpu "
                  "--default-max-tokens 7 --rank-invariant on --log-level error"));
  EXPECT_EQ(options.model, "m");
  EXPECT_EQ(options.tp, 2);
  EXPECT_EQ(options.kvp, 4);
  EXPECT_EQ(options.block_size, 128);
  EXPECT_EQ(options.kv_dtype, DType::kF32);
  EXPECT_EQ(options.kv_bytes, int64_t{1} << 30);
  EXPECT_EQ(options.max_context, 1000);
  EXPECT_EQ(options.activation, ActivationDType::kF32);
  EXPECT_EQ(options.chunk_tokens, 64);
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.isa, Isa::kPortable);
  EXPECT_EQ(options.device, DeviceChoice::kCpu);
  EXPECT_EQ(options.default_max_tokens, 7);
  EXPECT_EQ(options.log_level, LogLevel::kError);
}

TEST(ModelOptionsTest, BlockSizesArePowersOfTwo) {
  for (const char* size : {"8", "48", "512"}) {
    ModelOptions options;
    CLI::App app;
    AddModelOptions(app, &options);
    EXPECT_THROW(app.parse(std::string("--block-size ") + size), CLI::ValidationError) << size;
  }
}

}  // namespace
}  // namespace longspan
