#include "runtime/model/inspect.h"

#include <nlohmann/json.hpp>

#include "tests/model/test_files.h"
#include "tests/tools/random_model.h"

namespace longspan {
namespace {

using nlohmann::json;

ModelSummary SummarizeRandom(const RandomModelSpec& spec) {
  TempFolder folder;
  EXPECT_TRUE(WriteRandomModel(spec, folder / "m.gguf").ok());
  const auto source = ModelSource::Open(folder / "m.gguf");
  EXPECT_TRUE(source.ok()) << source.status();
  return Summarize(**source);
}

// One sliding layer of window 1024 and one full layer, one KV head of 64.
const RandomModelSpec kTwoLayers{.family = "gemma3",
                                 .layers = 2,
                                 .hidden = 256,
                                 .heads = 4,
                                 .kv_heads = 1,
                                 .head_dim = 64,
                                 .ffn = 512,
                                 .vocab = 100,
                                 .context = 1 << 20,
                                 .format = DType::kQ8_0,
                                 .window = 1024,
                                 .pattern = 2};

TEST(InspectTest, CountsWeights) {
  const ModelSummary summary = SummarizeRandom(kTwoLayers);
  const int64_t matrices = 100 * 256 + 2 * (2 * 256 * 256 + 2 * 64 * 256 + 3 * 512 * 256);
  const int64_t norms = 256 + 2 * (4 * 256 + 2 * 64);
  EXPECT_EQ(summary.parameters, matrices + norms);
  ASSERT_EQ(summary.formats.size(), 2u);
  EXPECT_EQ(summary.formats[0].format, DType::kQ8_0);
  EXPECT_EQ(summary.formats[0].bytes, matrices / 32 * 34);
  EXPECT_EQ(summary.formats[0].tensors, 15);
  EXPECT_EQ(summary.formats[1].format, DType::kF32);
  EXPECT_EQ(summary.formats[1].bytes, norms * 4);
  EXPECT_EQ(summary.weight_bytes, summary.formats[0].bytes + summary.formats[1].bytes);
}

TEST(InspectTest, SlidingLayersStopGrowing) {
  const ModelConfig config = SummarizeRandom(kTwoLayers).config;
  ASSERT_EQ(config.groups.size(), 2u);
  EXPECT_EQ(KvBytesPerToken(config, config.groups[0], 2), 2 * 64 * 2);
  EXPECT_EQ(KvBytes(config, 1, 2), 512);
  EXPECT_EQ(KvBytes(config, 1024, 2), 1024 * 512);
  EXPECT_EQ(KvBytes(config, 100'000, 2), 1024 * 256 + 100'000 * 256);
  EXPECT_EQ(KvBytes(config, 100'000, 4), 2 * KvBytes(config, 100'000, 2));
}

TEST(InspectTest, LargestContextFillsMemoryExactly) {
  const ModelSummary summary = SummarizeRandom(kTwoLayers);
  for (const int64_t tokens : {1, 1023, 1024, 1025, 50'000}) {
    const int64_t memory = summary.weight_bytes + KvBytes(summary.config, tokens, 2);
    EXPECT_EQ(LargestContext(summary, memory, 2), tokens);
    EXPECT_EQ(LargestContext(summary, memory - 1, 2), tokens - 1);
  }
  EXPECT_EQ(LargestContext(summary, summary.weight_bytes - 1, 2), 0);
  EXPECT_EQ(LargestContext(summary, INT64_MAX, 4), 1 << 20);
}

TEST(InspectTest, RendersJson) {
  const ModelSummary summary = SummarizeRandom(kTwoLayers);
  const int64_t memory = summary.weight_bytes + KvBytes(summary.config, 5000, 2);
  const json rendered = json::parse(RenderJson(summary, memory));
  EXPECT_EQ(rendered["family"], "gemma3");
  EXPECT_EQ(rendered["layers"], 2);
  EXPECT_EQ(rendered["parameters"], summary.parameters);
  EXPECT_EQ(rendered["weight_bytes_by_format"]["Q8_0"], summary.formats[0].bytes);
  ASSERT_EQ(rendered["layer_groups"].size(), 2u);
  EXPECT_EQ(rendered["layer_groups"][0]["window"], 1024);
  EXPECT_EQ(rendered["layer_groups"][0]["kv_bytes_per_token"]["f32"], 512);
  EXPECT_EQ(rendered["layer_groups"][0]["kv_bytes_at_most"]["bf16"], 256 * 1024);
  EXPECT_TRUE(rendered["layer_groups"][1]["window"].is_null());
  EXPECT_FALSE(rendered["layer_groups"][1].contains("kv_bytes_at_most"));
  EXPECT_EQ(rendered["largest_context"]["bf16"], 5000);
  EXPECT_FALSE(json::parse(RenderJson(summary, std::nullopt)).contains("largest_context"));
}

TEST(InspectTest, RendersText) {
  ModelSummary summary = SummarizeRandom(kTwoLayers);
  summary.config.name = "two\nlines \xff";
  const std::string text = RenderText(summary, summary.weight_bytes);
  for (const char* part :
       {"two lines", "gemma3", "1 sliding layer, window 1024: f32 512 bytes (512.00 KiB at most)",
        "1 full layer: f32 512 bytes", "1048576 tokens", "the weights leave no room"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_NE(RenderText(summary, INT64_MAX).find("1048576 tokens, the model's limit"), std::string::npos);
  EXPECT_TRUE(json::accept(RenderJson(summary, std::nullopt)));
}

}  // namespace
}  // namespace longspan
