// Every family from a GGUF file computes what it computes from its Hugging Face folder, bit for bit. The
// folders are the goldens, whose logits golden_test checks, some with a setting that GGUF cannot hold
// changed.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/group/folder_to_gguf.h"
#include "tests/group/goldens.h"
#include "tests/group/local_group.h"
#include "tests/model/test_files.h"

namespace longspan::testing {
namespace {

using nlohmann::json;

struct Case {
  const char* name;
  const char* golden;
  json changes;  // of the folder's config.json
  GgufConventions gguf;
};

void AddYarn(GgufWriter& writer, const std::string& prefix) {
  writer.AddString(prefix + "rope.scaling.type", "yarn");
  writer.AddFloat32(prefix + "rope.scaling.factor", 8);
  writer.AddUint32(prefix + "rope.scaling.original_context_length", 64);
  writer.AddFloat32(prefix + "rope.scaling.yarn_beta_fast", 16);
  writer.AddFloat32(prefix + "rope.scaling.yarn_beta_slow", 2);
}
const json kYarn = {{"rope_type", "yarn"},
                    {"factor", 8.0},
                    {"original_max_position_embeddings", 64},
                    {"beta_fast", 16},
                    {"beta_slow", 2}};

std::vector<Case> AllCases() {
  const json no_window = {{"sliding_window", nullptr}}, yarn = {{"rope_scaling", kYarn}};
  std::vector<Case> cases = {
      {"llama", "llama2-mha", {}, {"llama", true, 0, {}}},
      {"llama_window",
       "mistral-swa",
       {},
       {"llama", true, 0, [](GgufWriter& w) { w.AddUint32("llama.attention.sliding_window", 48); }}},
      // Of a Llama with biases the converter orders them as the rows.
      {"llama_biases", "qwen2-bias", {}, {"llama", true, 0, {}}},
      {"llama_yarn", "llama2-mha", yarn, {"llama", true, 0, [](GgufWriter& w) { AddYarn(w, "llama."); }}},
      {"mistral", "mistral-swa", no_window, {"llama", true, 0, {}}},
      {"mistral3", "mistral-swa", no_window, {"mistral3", true, 0, {}}},
      {"qwen2", "qwen2-bias", {}, {"qwen2", false, 0, {}}},
      {"qwen2_yarn", "qwen2-bias", yarn, {"qwen2", false, 0, [](GgufWriter& w) { AddYarn(w, "qwen2."); }}},
      {"qwen3", "qwen3-qknorm", {}, {"qwen3", false, 0, {}}},
      // The scale of queries is not in the file: the head size decides.
      {"gemma2",
       "gemma2-softcap",
       {{"query_pre_attn_scalar", 16}},
       {"gemma2", false, 1,
        [](GgufWriter& w) {
          w.AddUint32("gemma2.attention.sliding_window", 48);
          w.AddFloat32("gemma2.attn_logit_softcapping", 20);
          w.AddFloat32("gemma2.final_logit_softcapping", 15);
        }}},
      {"gemma3",
       "gemma3-dual",
       {},
       {"gemma3", false, 1, [](GgufWriter& w) { w.AddUint32("gemma3.attention.sliding_window", 48); }}},
      // Scaling is for full layers alone.
      {"gemma3_scaled",
       "gemma3-dual",
       {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}, {"final_logit_softcapping", 15.0}},
       {"gemma3", false, 1,
        [](GgufWriter& w) {
          w.AddUint32("gemma3.attention.sliding_window", 48);
          w.AddString("gemma3.rope.scaling.type", "linear");
          w.AddFloat32("gemma3.rope.scaling.factor", 8);
          w.AddFloat32("gemma3.final_logit_softcapping", 15);
        }}},
  };
  return cases;
}

// The golden's folder with changed settings, at `path`.
void CopyGolden(const Golden& golden, const json& changes, const std::string& path) {
  std::filesystem::create_directory(path);
  for (const auto& entry : std::filesystem::directory_iterator(golden.model_path)) {
    std::filesystem::create_symlink(entry.path(), std::filesystem::path(path) / entry.path().filename());
  }
  json config = json::parse(ReadFile(golden.model_path + "/config.json"));
  if (changes.is_object()) config.update(changes);
  std::filesystem::remove(path + "/config.json");
  WriteFile(path + "/config.json", config.dump());
}

class GgufFamilyTest : public ::testing::TestWithParam<Case> {};

TEST_P(GgufFamilyTest, ComputesWhatItsFolderComputes) {
  const Case& c = GetParam();
  const Golden golden = FindGolden(c.golden);
  TempFolder work;
  CopyGolden(golden, c.changes, work / "folder");
  WriteFolderAsGguf(work / "folder", c.gguf, work / "model.gguf");
  const LocalGroupOptions options;
  const std::vector<float> expected = PromptLogits(work / "folder", golden.Tokens(), options);
  const std::vector<float> actual = PromptLogits(work / "model.gguf", golden.Tokens(), options);
  ASSERT_EQ(actual.size(), expected.size());
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)), 0);
  const bool changed = c.changes.is_object();
  const std::vector<float> unchanged = golden.Logits();
  double difference = 0;
  for (size_t i = 0; i < unchanged.size(); ++i) {
    difference = std::max<double>(difference, std::abs(unchanged[i] - expected[i]));
  }
  // What a case changes is seen in the logits.
  EXPECT_EQ(changed, difference > 1e-2) << difference;
}

INSTANTIATE_TEST_SUITE_P(Families, GgufFamilyTest, ::testing::ValuesIn(AllCases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace longspan::testing
