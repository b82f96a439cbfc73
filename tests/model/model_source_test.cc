// Hugging Face folders.
#include "runtime/model/model_source.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/model/families/rope.h"
#include "tests/model/test_files.h"

namespace longspan {
namespace {

using nlohmann::json;

// A copy of a golden folder's model whose files a test may change.
class GoldenCopy {
 public:
  explicit GoldenCopy(const std::string& golden) : golden_(golden) {
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
      WriteFile(folder_ / name, ReadFile(Golden(golden + "/" + name)));
    }
  }
  json Config() const { return json::parse(ReadFile(Golden(golden_ + "/config.json"))); }
  absl::Status OpenWith(const json& config) {
    WriteFile(folder_ / "config.json", config.dump());
    return ModelSource::Open(folder_.path()).status();
  }
  absl::Status OpenWith(const std::string& key, const json& value) {
    json config = Config();
    config[key] = value;
    return OpenWith(config);
  }
  const TempFolder& folder() const { return folder_; }

 private:
  TempFolder folder_;
  std::string golden_;
};

TEST(ModelSourceTest, OpensLlama2) {
  const auto source = ModelSource::Open(Golden("llama2-mha"));
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.name, "llama2-mha");
  EXPECT_EQ(config.num_layers, 3);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_heads, 8);
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.ffn_size, 128);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.max_context, 4096);
  EXPECT_EQ(config.norm_epsilon, 1e-6f);
  EXPECT_EQ(config.norm_weight_offset, 0.0f);
  EXPECT_EQ(config.embedding_scale, 1.0f);
  EXPECT_EQ(config.query_scale, 0.25f);
  EXPECT_EQ(config.activation, ActivationKind::kSilu);
  EXPECT_FALSE(config.tied_embedding || config.qk_norm || config.post_norms);
  ASSERT_EQ(config.groups.size(), 1u);
  EXPECT_EQ(config.groups[0].window, 0);
  EXPECT_EQ(config.groups[0].rope.base, 10000.0);
  EXPECT_EQ(config.groups[0].rope.dim, 16);
  EXPECT_TRUE(config.groups[0].rope.frequency_divisors.empty());
  EXPECT_EQ(config.groups[0].layers, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(config.layer_group, (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(config.eos_token_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ((*source)->gguf(), nullptr);

  const WeightView down = (*source)->Weight(WeightRole::kDown, 2);
  EXPECT_EQ(down.entry->name, "model.layers.2.mlp.down_proj.weight");
  EXPECT_EQ(down.rows, 64);
  EXPECT_EQ(down.columns, 128);
  EXPECT_TRUE((*source)->Weight(WeightRole::kQuery).row_order.empty());
  EXPECT_EQ((*source)->Weight(WeightRole::kFinalNorm).rows, 1);
  EXPECT_EQ((*source)->AllWeights().size(), 3u + 3u * 9u);
  size_t bytes = 0;
  for (const WeightView& weight : (*source)->AllWeights()) bytes += weight.entry->bytes;
  EXPECT_EQ((*source)->weight_bytes(), bytes);
}

// One golden spells RoPE the newer way and one the older; both have Llama 3's scaling.
TEST(ModelSourceTest, OpensLlama3InBothSpellings) {
  for (const char* name : {"llama3-gqa", "llama3-bf16"}) {
    const auto source = ModelSource::Open(Golden(name));
    ASSERT_TRUE(source.ok()) << source.status();
    const ModelConfig& config = (*source)->config();
    EXPECT_EQ(config.num_kv_heads, 4);
    EXPECT_EQ(config.tied_embedding, std::string(name) == "llama3-bf16");
    EXPECT_EQ(config.groups[0].rope.base, 500000.0);
    EXPECT_EQ(
        config.groups[0].rope.frequency_divisors,
        Llama3Divisors(
            500000.0, 16,
            {.factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 128}));
    const DType dtype = config.tied_embedding ? DType::kBF16 : DType::kF32;
    EXPECT_EQ((*source)->Weight(WeightRole::kAttentionNorm, 1).entry->dtype, dtype);
  }
}

void ExpectGemma3Dual(const ModelSource& source) {
  const ModelConfig& config = source.config();
  EXPECT_EQ(config.family, "gemma3");
  EXPECT_EQ(config.norm_weight_offset, 1.0f);
  EXPECT_EQ(config.embedding_scale, 8.0f);
  EXPECT_EQ(config.query_scale, 0.25f);
  EXPECT_EQ(config.activation, ActivationKind::kGeluTanh);
  EXPECT_TRUE(config.tied_embedding && config.qk_norm && config.post_norms);
  ASSERT_EQ(config.groups.size(), 2u);
  EXPECT_EQ(config.groups[0].window, 48);
  EXPECT_EQ(config.groups[0].rope.base, 10000.0);
  EXPECT_EQ(config.groups[0].layers, (std::vector<int>{0, 1, 2, 3, 4, 6}));
  EXPECT_EQ(config.groups[1].window, 0);
  EXPECT_EQ(config.groups[1].rope.base, 1000000.0);
  EXPECT_EQ(config.groups[1].layers, (std::vector<int>{5}));
  EXPECT_EQ(config.layer_group, (std::vector<int>{0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(source.AllWeights().size(), 2u + 7u * 13u);
  EXPECT_EQ(source.Weight(WeightRole::kFfnNorm, 3).entry->name,
            "model.layers.3.pre_feedforward_layernorm.weight");
  EXPECT_EQ(source.Weight(WeightRole::kPostAttentionNorm, 3).entry->name,
            "model.layers.3.post_attention_layernorm.weight");
}

TEST(ModelSourceTest, OpensGemma3InBothSpellings) {
  const auto older = ModelSource::Open(Golden("gemma3-dual"));
  ASSERT_TRUE(older.ok()) << older.status();
  ExpectGemma3Dual(**older);

  GoldenCopy copy("gemma3-dual");
  json config = copy.Config();
  for (const char* key : {"rope_theta", "rope_local_base_freq", "rope_scaling", "sliding_window_pattern",
                          "_sliding_window_pattern"}) {
    config.erase(key);
  }
  config["layer_types"] = std::vector<std::string>(7, "sliding_attention");
  config["layer_types"][5] = "full_attention";
  config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000.0}}}};
  ASSERT_TRUE(copy.OpenWith(config).ok()) << copy.OpenWith(config);
  const auto newer = ModelSource::Open(copy.folder().path());
  ASSERT_TRUE(newer.ok());
  ExpectGemma3Dual(**newer);
  EXPECT_TRUE((*newer)->config().groups[0].rope.frequency_divisors.empty());
  EXPECT_EQ((*newer)->config().groups[1].rope.frequency_divisors, std::vector<double>(8, 8.0));
}

TEST(ModelSourceTest, OlderGemma3ScalingIsForFullLayersAlone) {
  GoldenCopy copy("gemma3-dual");
  ASSERT_TRUE(copy.OpenWith("rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}).ok());
  const auto source = ModelSource::Open(copy.folder().path());
  ASSERT_TRUE(source.ok());
  EXPECT_TRUE((*source)->config().groups[0].rope.frequency_divisors.empty());
  EXPECT_EQ((*source)->config().groups[1].rope.frequency_divisors, std::vector<double>(8, 8.0));
}

TEST(ModelSourceTest, OpensMistralWithItsWindow) {
  GoldenCopy copy("mistral-swa");
  const auto window = [&](const json& value) {
    EXPECT_TRUE(copy.OpenWith("sliding_window", value).ok());
    const auto source = ModelSource::Open(copy.folder().path());
    return (*source)->config().groups[0].window;
  };
  EXPECT_EQ(window(48), 48);
  EXPECT_EQ(window(nullptr), 0);
  json config = copy.Config();
  config.erase("sliding_window");
  ASSERT_TRUE(copy.OpenWith(config).ok());
  EXPECT_EQ((*ModelSource::Open(copy.folder().path()))->config().groups[0].window, 4096);
  EXPECT_TRUE(copy.OpenWith("layer_types", std::vector<std::string>(3, "sliding_attention")).ok());
  ExpectError(copy.OpenWith("layer_types", std::vector<std::string>(3, "full_attention")),
              {"layer_types is not what sliding_window says"});
  ExpectError(copy.OpenWith("sliding_window", 0), {"sliding_window is 0 but must be from 1"});
}

TEST(ModelSourceTest, OpensQwen2WithItsBiasesAndWindow) {
  GoldenCopy copy("qwen2-bias");
  auto source = ModelSource::Open(Golden("qwen2-bias"));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().family, "qwen2");
  EXPECT_TRUE((*source)->config().qkv_bias && (*source)->config().tied_embedding);
  EXPECT_FALSE((*source)->config().qk_norm);
  const WeightView bias = (*source)->Weight(WeightRole::kKeyBias, 2);
  EXPECT_EQ(bias.entry->name, "model.layers.2.self_attn.k_proj.bias");
  EXPECT_EQ(bias.rows, 1);
  EXPECT_EQ(bias.columns, 64);

  json config = copy.Config();
  config["use_sliding_window"] = true;
  config["sliding_window"] = 32;
  config["max_window_layers"] = 2;
  ASSERT_TRUE(copy.OpenWith(config).ok());
  source = ModelSource::Open(copy.folder().path());
  EXPECT_EQ((*source)->config().layer_group, (std::vector<int>{0, 0, 1}));
  EXPECT_EQ((*source)->config().groups[0].window, 0);
  EXPECT_EQ((*source)->config().groups[1].window, 32);
  ExpectError(copy.OpenWith("layer_types", std::vector<std::string>(3, "sliding_attention")),
              {"layer_types is sliding_attention without use_sliding_window"});
}

TEST(ModelSourceTest, OpensQwen3) {
  const auto source = ModelSource::Open(Golden("qwen3-qknorm"));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().family, "qwen3");
  EXPECT_EQ((*source)->config().head_dim, 32);
  EXPECT_TRUE((*source)->config().qk_norm);
  EXPECT_FALSE((*source)->config().qkv_bias);
}

TEST(ModelSourceTest, OpensGemma2) {
  GoldenCopy copy("gemma2-softcap");
  const auto source = ModelSource::Open(Golden("gemma2-softcap"));
  ASSERT_TRUE(source.ok()) << source.status();
  const ModelConfig& config = (*source)->config();
  EXPECT_EQ(config.family, "gemma2");
  EXPECT_EQ(config.score_cap, 20.0f);
  EXPECT_EQ(config.logit_cap, 15.0f);
  EXPECT_EQ(config.query_scale, static_cast<float>(1 / std::sqrt(24.0)));
  EXPECT_TRUE(config.post_norms && config.tied_embedding);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.layer_group, (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(config.groups[0].window, 48);
  EXPECT_EQ(config.groups[1].window, 0);

  // A cap of null is none; one left out is the family's.
  json changed = copy.Config();
  changed["attn_logit_softcapping"] = nullptr;
  changed.erase("final_logit_softcapping");
  changed.erase("layer_types");
  ASSERT_TRUE(copy.OpenWith(changed).ok());
  const auto defaults = ModelSource::Open(copy.folder().path());
  EXPECT_EQ((*defaults)->config().score_cap, 0.0f);
  EXPECT_EQ((*defaults)->config().logit_cap, 30.0f);
  EXPECT_EQ((*defaults)->config().layer_group, (std::vector<int>{0, 1, 0}));
  ExpectError(copy.OpenWith("attn_logit_softcapping", -1), {"attn_logit_softcapping is not a finite number"});
}

// As in models of texts and images, whose folder has the text model's settings in text_config.
TEST(ModelSourceTest, OpensTheTextModelOfAModelOfImages) {
  GoldenCopy copy("gemma3-dual");
  json text = copy.Config();
  for (const char* key : {"num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps",
                          "max_position_embeddings", "query_pre_attn_scalar", "eos_token_id"}) {
    text.erase(key);
  }
  json config = {{"model_type", "gemma3"}, {"eos_token_id", {1, 106}}, {"vision_config", json::object()}};
  config["text_config"] = text;
  // What config.json leaves out are the sizes of the published models.
  ExpectError(copy.OpenWith(config),
              {"tensor model.layers.0.self_attn.q_proj.weight has shape [128, 64]", "says [2048, 64]"});
  config["text_config"] = copy.Config();
  config["text_config"].erase("eos_token_id");
  std::filesystem::remove(copy.folder() / "generation_config.json");

  std::string file = ReadFile(Golden("gemma3-dual/model.safetensors"));
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const json header = json::parse(file.substr(8, length));
  for (const char* prefix : {"language_model.model.", "model.language_model."}) {
    json renamed;
    for (const auto& [name, value] : header.items()) {
      renamed[name.starts_with("model.") ? prefix + name.substr(6) : name] = value;
    }
    renamed["vision_tower.encoder.weight"] = renamed["multi_modal_projector.norm.weight"] = {
        {"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {0, 4}}};
    const std::string text_of_header = renamed.dump();
    const uint64_t new_length = text_of_header.size();
    WriteFile(copy.folder() / "model.safetensors",
              std::string(reinterpret_cast<const char*>(&new_length), 8) + text_of_header +
                  file.substr(8 + length));
    ASSERT_TRUE(copy.OpenWith(config).ok()) << copy.OpenWith(config);
    const auto source = ModelSource::Open(copy.folder().path());
    EXPECT_EQ((*source)->config().eos_token_ids, (std::vector<int32_t>{1, 106}));
    EXPECT_EQ((*source)->Weight(WeightRole::kUp, 6).entry->name, "model.layers.6.mlp.up_proj.weight");
  }
}

TEST(ModelSourceTest, RefusesOtherFamiliesByName) {
  GoldenCopy copy("llama2-mha");
  for (const char* model_type : {"mixtral", "deepseek_v3", "phi3", "gemma", "gemma3", "qwen3_moe"}) {
    ExpectError(copy.OpenWith("model_type", model_type),
                {"model_type is " + std::string(model_type) + ",",
                 "supported are llama, mistral, qwen2, qwen3, gemma2, gemma3_text"});
  }
}

TEST(ModelSourceTest, RefusesLlamaSettingsByName) {
  GoldenCopy copy("llama2-mha");
  ExpectError(copy.OpenWith("hidden_act", "gelu"), {"hidden_act is gelu"});
  ExpectError(copy.OpenWith("attention_bias", true), {"attention_bias is true"});
  ExpectError(copy.OpenWith("mlp_bias", true), {"mlp_bias is true"});
  ExpectError(copy.OpenWith("rope_parameters", {{"rope_type", "dynamic"}}),
              {"rope_parameters.rope_type is dynamic"});
  ExpectError(copy.OpenWith("num_local_experts", 8), {"num_local_experts is 8"});
  ExpectError(copy.OpenWith("kv_lora_rank", 512), {"kv_lora_rank is set"});
  ExpectError(copy.OpenWith("partial_rotary_factor", 0.5), {"partial_rotary_factor is not 1"});
  ExpectError(copy.OpenWith("rope_parameters", 5), {"rope_parameters is not an object"});
  ExpectError(copy.OpenWith("quantization_config", {{"bits", 4}}), {"quantization_config"});
  ExpectError(copy.OpenWith("num_hidden_layers", 0), {"num_hidden_layers is 0 but must be from 1"});
  ExpectError(copy.OpenWith("num_hidden_layers", 4), {"tensor model.layers.3.", "missing"});
  ExpectError(copy.OpenWith("num_hidden_layers", 2), {"tensor model.layers.2.", "not part of a llama model"});
  ExpectError(copy.OpenWith("num_hidden_layers", 3000000000), {"num_hidden_layers is 3000000000"});
  ExpectError(copy.OpenWith("hidden_size", "64"), {"hidden_size is not an integer"});
  ExpectError(copy.OpenWith("hidden_size", 128),
              {"has shape [320, 64] but the configuration says [320, 128]"});
  ExpectError(copy.OpenWith("num_key_value_heads", 3),
              {"num_key_value_heads is 3, which does not divide the 8"});
  ExpectError(copy.OpenWith("head_dim", 12), {"head_dim is 12", "multiple of 16"});
  ExpectError(copy.OpenWith("head_dim", 2048), {"head_dim is 2048", "up to 1024"});
  ExpectError(copy.OpenWith("vocab_size", nullptr), {"vocab_size is missing"});
  ExpectError(copy.OpenWith("rms_norm_eps", 0), {"rms_norm_eps is not a finite number above zero"});
  ExpectError(copy.OpenWith("rms_norm_eps", 1e300), {"rms_norm_eps is not a finite number above zero"});
  ExpectError(copy.OpenWith("rms_norm_eps", 1e-300), {"rms_norm_eps is not a finite number above zero"});
  ExpectError(copy.OpenWith("model_type", nullptr), {"model_type is absent"});
  ExpectError(copy.OpenWith("model_type", std::string(5000, '\x1b')),
              {"model_type is \\x1b\\x1b", "..., which is not supported"});
  EXPECT_TRUE(copy.OpenWith(copy.Config()).ok());
  // The head size follows from the hidden size, 64 / 8, when it is not given.
  ExpectError(copy.OpenWith("head_dim", nullptr), {"head_dim is 8"});
}

TEST(ModelSourceTest, RefusesGemma3SettingsByName) {
  GoldenCopy copy("gemma3-dual");
  ExpectError(copy.OpenWith("hidden_activation", "gelu"), {"hidden_activation is gelu"});
  ExpectError(copy.OpenWith("attn_logit_softcapping", 50.0), {"attn_logit_softcapping"});
  ExpectError(copy.OpenWith("use_bidirectional_attention", true), {"use_bidirectional_attention is true"});
  ExpectError(copy.OpenWith("sliding_window", "48"), {"sliding_window is not an integer"});
  ExpectError(copy.OpenWith("sliding_window_pattern", 0), {"sliding_window_pattern is 0"});
  ExpectError(copy.OpenWith("layer_types", {"full_attention"}),
              {"layer_types has 1 entries but there are 7"});
  ExpectError(copy.OpenWith("layer_types", std::vector<std::string>(7, "chunked_attention")),
              {"layer_types is chunked_attention"});
  ExpectError(copy.OpenWith("tie_word_embeddings", false), {"tensor lm_head.weight is missing"});
}

TEST(ModelSourceTest, AcceptsOnlyHarmlessExtraTensors) {
  GoldenCopy copy("llama2-mha");
  // The output matrix of a file that says it is tied changes nothing.
  EXPECT_TRUE(copy.OpenWith("tie_word_embeddings", true).ok());

  const auto add = [&](const std::string& name) {
    const std::string header =
        R"({")" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})" + std::string(6, ' ');
    const uint64_t length = header.size();
    WriteFile(copy.folder() / "extra.safetensors",
              std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(4, '\0'));
  };
  std::filesystem::rename(copy.folder() / "model.safetensors", copy.folder() / "first.safetensors");
  add("model.layers.0.self_attn.rotary_emb.inv_freq");
  EXPECT_TRUE(copy.OpenWith(copy.Config()).ok()) << copy.OpenWith(copy.Config());
  add("model.layers.0.self_attn.q_proj.bias");
  ExpectError(copy.OpenWith(copy.Config()),
              {"tensor model.layers.0.self_attn.q_proj.bias", "not part of a llama"});
}

TEST(ModelSourceTest, EndTokensComeFromTheGenerationConfigFirst) {
  GoldenCopy copy("llama2-mha");
  const auto ids = [&] {
    const auto source = ModelSource::Open(copy.folder().path());
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? (*source)->config().eos_token_ids : std::vector<int32_t>{};
  };
  const std::string generation = copy.folder() / "generation_config.json";
  WriteFile(generation, R"({"eos_token_id": [5, 7, 5]})");
  EXPECT_EQ(ids(), (std::vector<int32_t>{5, 7}));
  WriteFile(generation, "{}");
  EXPECT_EQ(ids(), (std::vector<int32_t>{2}));
  std::filesystem::remove(generation);
  EXPECT_EQ(ids(), (std::vector<int32_t>{2}));
  EXPECT_TRUE(copy.OpenWith("eos_token_id", nullptr).ok());
  EXPECT_TRUE(ids().empty());
  WriteFile(generation, R"({"eos_token_id": 320})");
  ExpectError(ModelSource::Open(copy.folder().path()).status(),
              {"generation_config.json: eos_token_id is 320 but must be from 0 to 319"});
  WriteFile(generation, "nonsense");
  ExpectError(ModelSource::Open(copy.folder().path()).status(),
              {"generation_config.json: is not a JSON object"});
}

TEST(ModelSourceTest, NamesWhatIsNoModel) {
  TempFolder folder;
  ExpectError(ModelSource::Open(folder.path()).status(), {folder.path(), "no config.json"});
  ExpectError(ModelSource::Open(folder / "absent").status(), {"absent", "No such file"});
}

TEST(ModelSourceTest, ReleasedWeightsStayReadable) {
  const auto source = ModelSource::Open(Golden("llama2-mha"));
  ASSERT_TRUE(source.ok());
  const WeightView weight = (*source)->Weight(WeightRole::kEmbedding);
  const std::string before(reinterpret_cast<const char*>(weight.entry->data), weight.entry->bytes);
  (*source)->Release(weight);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(weight.entry->data), weight.entry->bytes), before);
}

}  // namespace
}  // namespace longspan
