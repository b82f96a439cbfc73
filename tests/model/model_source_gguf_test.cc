// GGUF files.
#include <cmath>
#include <cstring>

#include "runtime/model/families/rope.h"
#include "runtime/model/model_source.h"
#include "tests/model/test_files.h"
#include "tests/tools/gguf_writer.h"
#include "tests/tools/random_model.h"

namespace longspan {
namespace {

TEST(ModelSourceGgufTest, OpensEveryFormatOfTheGolden) {
  const std::pair<const char*, DType> cases[] = {
      {"f16", DType::kF16},   {"q4_0", DType::kQ4_0}, {"q4_1", DType::kQ4_1},
      {"q5_0", DType::kQ5_0}, {"q5_1", DType::kQ5_1}, {"q8_0", DType::kQ8_0},
      {"q4_k", DType::kQ4_K}, {"q5_k", DType::kQ5_K}, {"q6_k", DType::kQ6_K}};
  for (const auto& [name, dtype] : cases) {
    const auto source = ModelSource::Open(Golden("gguf-llama/" + std::string(name) + ".gguf"));
    ASSERT_TRUE(source.ok()) << source.status();
    const ModelConfig& config = (*source)->config();
    EXPECT_EQ(config.family, "llama");
    EXPECT_EQ(config.name, "tiny-llama-31");
    EXPECT_EQ(config.num_layers, 2);
    EXPECT_EQ(config.hidden_size, 256);
    EXPECT_EQ(config.num_heads, 8);
    EXPECT_EQ(config.num_kv_heads, 4);
    EXPECT_EQ(config.head_dim, 32);
    EXPECT_EQ(config.ffn_size, 256);
    EXPECT_EQ(config.vocab_size, 320);
    EXPECT_EQ(config.max_context, 4096);
    EXPECT_EQ(config.norm_epsilon, 1e-5f);
    EXPECT_FLOAT_EQ(config.query_scale, 1.0f / std::sqrt(32.0f));
    EXPECT_FALSE(config.tied_embedding);
    EXPECT_EQ(config.eos_token_ids, (std::vector<int32_t>{2}));
    ASSERT_EQ(config.groups.size(), 1u);
    EXPECT_EQ(config.groups[0].rope.base, 500000.0);
    ASSERT_EQ(config.groups[0].rope.frequency_divisors.size(), 16u);
    EXPECT_EQ(config.groups[0].rope.frequency_divisors[0], 1.0);
    EXPECT_EQ(config.groups[0].rope.frequency_divisors[15], 8.0);
    EXPECT_EQ((*source)->Weight(WeightRole::kUp, 1).entry->dtype, dtype);
    EXPECT_NE((*source)->gguf(), nullptr);
  }
}

TEST(ModelSourceGgufTest, UndoesTheInterleavingOfLlamaHeads) {
  const auto source = ModelSource::Open(Golden("gguf-llama/f16.gguf"));
  ASSERT_TRUE(source.ok()) << source.status();
  const WeightView query = (*source)->Weight(WeightRole::kQuery, 1);
  ASSERT_EQ(query.row_order.size(), 256u);
  EXPECT_EQ(query.row_order[0], 0);
  EXPECT_EQ(query.row_order[1], 2);
  EXPECT_EQ(query.row_order[15], 30);
  EXPECT_EQ(query.row_order[16], 1);
  EXPECT_EQ(query.row_order[31], 31);
  EXPECT_EQ(query.row_order[32 * 7 + 16 + 3], 32 * 7 + 2 * 3 + 1);
  EXPECT_EQ((*source)->Weight(WeightRole::kKey).row_order.size(), 128u);
  EXPECT_TRUE((*source)->Weight(WeightRole::kValue).row_order.empty());
  EXPECT_TRUE((*source)->Weight(WeightRole::kAttentionOutput).row_order.empty());
}

TEST(ModelSourceGgufTest, OpensGemma3) {
  TempFolder folder;
  const std::string path = folder / "a.gguf";
  RandomModelSpec spec{.family = "gemma3",
                       .layers = 7,
                       .hidden = 64,
                       .heads = 4,
                       .kv_heads = 1,
                       .head_dim = 16,
                       .ffn = 96,
                       .vocab = 40,
                       .context = 2097152,
                       .window = 1024};
  ASSERT_TRUE(WriteRandomModel(spec, path).ok());
  auto source = ModelSource::Open(path);
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_EQ(config.family, "gemma3");
  EXPECT_EQ(config.max_context, 2097152);
  EXPECT_EQ(config.norm_weight_offset, 0.0f);
  EXPECT_EQ(config.embedding_scale, 8.0f);
  EXPECT_EQ(config.query_scale, 0.25f);
  EXPECT_EQ(config.activation, ActivationKind::kGeluTanh);
  EXPECT_TRUE(config.tied_embedding && config.qk_norm && config.post_norms);
  EXPECT_TRUE(config.eos_token_ids.empty());
  ASSERT_EQ(config.groups.size(), 2u);
  EXPECT_EQ(config.groups[0].window, 1024);
  EXPECT_EQ(config.groups[0].rope.base, 10000.0);
  EXPECT_EQ(config.groups[0].layers, (std::vector<int>{0, 1, 2, 3, 4, 6}));
  EXPECT_EQ(config.groups[1].rope.base, 1000000.0);
  EXPECT_EQ(config.groups[1].layers, (std::vector<int>{5}));
  EXPECT_TRUE((*source)->Weight(WeightRole::kQuery).row_order.empty());
  EXPECT_EQ((*source)->Weight(WeightRole::kPostFfnNorm, 6).entry->name, "blk.6.post_ffw_norm.weight");

  spec.layers = 2;
  spec.pattern = 2;
  ASSERT_TRUE(WriteRandomModel(spec, path).ok());
  source = ModelSource::Open(path);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().layer_group, (std::vector<int>{0, 1}));
  EXPECT_EQ((*source)->config().groups[1].window, 0);
}

// The smallest Llama file, with what a case adds.
struct TinyLlama {
  GgufWriter writer;

  explicit TinyLlama(const std::string& architecture = "llama") {
    writer.AddString("general.architecture", architecture);
    writer.AddUint32("llama.block_count", 1);
    writer.AddUint32("llama.context_length", 64);
    writer.AddUint32("llama.embedding_length", 32);
    writer.AddUint32("llama.feed_forward_length", 32);
    writer.AddUint32("llama.attention.head_count", 2);
    writer.AddFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    writer.AddTensor("token_embd.weight", DType::kF32, {10, 32});
    writer.AddTensor("output_norm.weight", DType::kF32, {32});
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"}) {
      writer.AddTensor("blk.0." + std::string(name) + ".weight", DType::kF32, {32, 32});
    }
    writer.AddTensor("blk.0.attn_norm.weight", DType::kF32, {32});
    writer.AddTensor("blk.0.ffn_norm.weight", DType::kF32, {32});
  }

  // The last matrix is left for the case to get wrong.
  TinyLlama& Down(DType dtype = DType::kF32, std::vector<int64_t> shape = {32, 32}) {
    writer.AddTensor("blk.0.ffn_down.weight", dtype, shape);
    return *this;
  }

  absl::StatusOr<std::unique_ptr<ModelSource>> Open() const {
    TempFolder folder;
    const auto ones = [](size_t, std::span<std::byte> out) {
      const float one = 1.0f;
      for (size_t i = 0; i + sizeof(one) <= out.size(); i += sizeof(one))
        std::memcpy(&out[i], &one, sizeof(one));
    };
    EXPECT_TRUE(writer.Write(folder / "tiny.gguf", ones).ok());
    return ModelSource::Open(folder / "tiny.gguf");
  }
};

TEST(ModelSourceGgufTest, DefaultsOfLlama) {
  TinyLlama tiny;
  tiny.Down().writer.AddUint32("tokenizer.ggml.eos_token_id", 3);
  tiny.writer.AddUint32("tokenizer.ggml.eot_token_id", 9);
  tiny.writer.AddUint32("tokenizer.ggml.eom_token_id", 3);
  const auto source = tiny.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_TRUE(config.tied_embedding);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.groups[0].rope.base, 10000.0);
  EXPECT_TRUE(config.groups[0].rope.frequency_divisors.empty());
  EXPECT_EQ(config.eos_token_ids, (std::vector<int32_t>{3, 9}));
}

TEST(ModelSourceGgufTest, ReadsLinearScaling) {
  TinyLlama tiny;
  tiny.Down().writer.AddString("llama.rope.scaling.type", "linear");
  tiny.writer.AddFloat32("llama.rope.scaling.factor", 4.0f);
  const auto source = tiny.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().groups[0].rope.frequency_divisors, std::vector<double>(8, 4.0));
}

TEST(ModelSourceGgufTest, ReadsYarn) {
  TinyLlama tiny;
  tiny.Down().writer.AddString("llama.rope.scaling.type", "yarn");
  tiny.writer.AddFloat32("llama.rope.scaling.factor", 4.0f);
  tiny.writer.AddUint32("llama.rope.scaling.original_context_length", 32);
  auto source = tiny.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  const RopeConfig& rope = (*source)->config().groups[0].rope;
  EXPECT_EQ(rope.frequency_divisors, YarnDivisors(10000.0, 16, {.factor = 4, .original_context = 32}));
  EXPECT_EQ(rope.magnitude, YarnMagnitude(4, 1));
  EXPECT_EQ((*source)->config().max_context, 128);

  tiny.writer.AddFloat32("llama.rope.scaling.yarn_log_multiplier", 1.0f);
  EXPECT_EQ((*tiny.Open())->config().groups[0].rope.magnitude, 1.0);
  tiny.writer.AddFloat32("llama.rope.scaling.attn_factor", 0.5f);
  EXPECT_EQ((*tiny.Open())->config().groups[0].rope.magnitude, 0.5);
  tiny.writer.AddFloat32("llama.rope.scaling.yarn_attn_factor", 1.5f);
  EXPECT_EQ((*tiny.Open())->config().groups[0].rope.magnitude, 0.75);
  tiny.writer.AddFloat32("llama.rope.scaling.yarn_ext_factor", 0.5f);
  ExpectError(tiny.Open().status(), {"llama.rope.scaling.yarn_ext_factor is not 1"});
}

TEST(ModelSourceGgufTest, Gemma3WithoutAWindowIsFull) {
  TempFolder folder;
  const RandomModelSpec spec{.family = "gemma3", .window = 0};
  ASSERT_TRUE(WriteRandomModel(spec, folder / "m.gguf").ok());
  const auto source = ModelSource::Open(folder / "m.gguf");
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().groups.size(), 1u);
  EXPECT_EQ((*source)->config().groups[0].window, 0);
}

TEST(ModelSourceGgufTest, RefusesByName) {
  ExpectError(
      TinyLlama("phi3").Open().status(),
      {"general.architecture is phi3,", "supported are llama, mistral3, qwen2, qwen3, gemma2, gemma3"});
  ExpectError(TinyLlama().Open().status(), {"tensor blk.0.ffn_down.weight is missing"});
  ExpectError(TinyLlama().Down(DType::kF32, {32, 64}).Open().status(),
              {"tensor blk.0.ffn_down.weight has shape [32, 64]", "says [32, 32]"});
  ExpectError(TinyLlama().Down(DType::kI32).Open().status(), {"blk.0.ffn_down.weight has the format I32"});

  TinyLlama bias;
  bias.Down().writer.AddTensor("blk.0.attn_q.bias", DType::kF32, {32});
  ExpectError(bias.Open().status(), {"tensor blk.0.attn_k.bias is missing"});

  TinyLlama output_bias;
  output_bias.Down().writer.AddTensor("blk.0.attn_output.bias", DType::kF32, {32});
  ExpectError(output_bias.Open().status(), {"tensor blk.0.attn_output.bias", "not part of a llama model"});

  TinyLlama longrope;
  longrope.Down().writer.AddString("llama.rope.scaling.type", "longrope");
  ExpectError(longrope.Open().status(), {"llama.rope.scaling.type is longrope"});

  TinyLlama experts;
  experts.Down().writer.AddUint32("llama.expert_count", 8);
  ExpectError(experts.Open().status(), {"llama.expert_count is 8"});

  for (const char* key : {"attention.scale", "logit_scale", "final_logit_softcapping"}) {
    TinyLlama other;
    other.Down().writer.AddFloat32("llama." + std::string(key), 2);
    ExpectError(other.Open().status(), {"llama." + std::string(key) + " is set"});
  }

  TinyLlama partial;
  partial.Down().writer.AddUint32("llama.rope.dimension_count", 8);
  ExpectError(partial.Open().status(), {"llama.rope.dimension_count is not the head size"});

  TinyLlama eos;
  eos.Down().writer.AddUint32("tokenizer.ggml.eos_token_id", 10);
  ExpectError(eos.Open().status(), {"tokenizer.ggml.eos_token_id is 10 but must be from 0 to 9"});

  TinyLlama heads;
  heads.Down().writer.AddUint32("llama.attention.head_count_kv", 0);
  ExpectError(heads.Open().status(), {"llama.attention.head_count_kv is 0"});

  TinyLlama frequencies;
  frequencies.Down().writer.AddTensor("rope_freqs.weight", DType::kF32, {16});
  ExpectError(frequencies.Open().status(), {"rope_freqs.weight is not F32 [8]"});

  GgufWriter vocabulary;
  vocabulary.AddString("general.architecture", "llama");
  TempFolder folder;
  ASSERT_TRUE(vocabulary.Write(folder / "v.gguf", [](size_t, std::span<std::byte>) {}).ok());
  ExpectError(ModelSource::Open(folder / "v.gguf").status(), {"v.gguf: holds a vocabulary alone"});
}

TEST(ModelSourceGgufTest, RefusesBlockFormatNorms) {
  TempFolder folder;
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  for (const char* key : {"block_count", "context_length"}) writer.AddUint32("llama." + std::string(key), 1);
  writer.AddUint32("llama.embedding_length", 32);
  writer.AddUint32("llama.feed_forward_length", 32);
  writer.AddUint32("llama.attention.head_count", 2);
  writer.AddFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.AddTensor("token_embd.weight", DType::kF32, {10, 32});
  writer.AddTensor("output_norm.weight", DType::kQ8_0, {32});
  const auto zeros = [](size_t, std::span<std::byte> out) { std::memset(out.data(), 0, out.size()); };
  ASSERT_TRUE(writer.Write(folder / "n.gguf", zeros).ok());
  ExpectError(ModelSource::Open(folder / "n.gguf").status(),
              {"tensor output_norm.weight has the format Q8_0", "F32, F16 or BF16"});
}

}  // namespace
}  // namespace longspan
