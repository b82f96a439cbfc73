#include "runtime/model/families/rope.h"

#include <cmath>
#include <cstring>

#include "tests/model/test_files.h"

namespace longspan {
namespace {

// The golden GGUF file holds the divisors that its maker computed for these settings.
TEST(RopeTest, Llama3DivisorsMatchTheGolden) {
  const auto file = GgufFile::Open(Golden("gguf-llama/f16.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();
  const TensorEntry* tensor = (*file)->FindTensor("rope_freqs.weight");
  ASSERT_NE(tensor, nullptr);
  const std::vector<double> divisors = Llama3Divisors(
      500000.0, 32,
      {.factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 128});
  ASSERT_EQ(divisors.size(), 16u);
  for (size_t i = 0; i < divisors.size(); ++i) {
    float golden = 0;
    std::memcpy(&golden, tensor->data + i * sizeof(float), sizeof(float));
    EXPECT_NEAR(divisors[i], golden, 2e-6 * golden) << i;
  }
}

// A model of 16 dimensions a head and 4,096 tokens whose config.json is `config`.
absl::StatusOr<RopeConfig> ReadConfig(const nlohmann::json& config, int dim = 16,
                                      ModelConfig* shape = nullptr) {
  ModelConfig own;
  if (shape == nullptr) shape = &own;
  shape->head_dim = dim;
  if (shape->max_context == 0) shape->max_context = 4096;
  FolderConfig folder;
  folder.path = "folder";
  folder.config = config;
  JsonFieldReader fields(folder.config, folder.config_path());
  return ReadFolderRope(folder, fields, 10000.0, shape);
}

absl::StatusOr<RopeConfig> Read(const std::string& text) {
  return ReadConfig({{"rope_parameters", nlohmann::json::parse(text)}});
}

TEST(RopeTest, ReadsKinds) {
  auto rope = Read("{}");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 10000.0);
  EXPECT_EQ(rope->dim, 16);
  EXPECT_EQ(rope->magnitude, 1.0);
  EXPECT_TRUE(rope->frequency_divisors.empty());

  rope = Read(R"({"rope_type": "default", "rope_theta": 500000})");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 500000.0);

  rope = Read(R"({"type": "linear", "factor": 4.0})");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->frequency_divisors, std::vector<double>(8, 4.0));
}

// The older spelling keeps the base apart; a null or empty object is none.
TEST(RopeTest, ReadsTheOlderSpelling) {
  auto rope = ReadConfig({{"rope_theta", 5e5}, {"rope_scaling", {{"type", "linear"}, {"factor", 2}}}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 5e5);
  EXPECT_EQ(rope->frequency_divisors, std::vector<double>(8, 2.0));
  rope = ReadConfig({{"rope_scaling", nullptr}, {"rope_parameters", {{"rope_theta", 7e5}}}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 7e5);
  EXPECT_TRUE(rope->frequency_divisors.empty());
  ExpectError(ReadConfig({{"rope_scaling", 3}}).status(), {"config.json: rope_scaling is not an object"});
}

struct YarnCase {
  const char* settings;
  int dim;
  int64_t max_context, extended_context;
  double magnitude;
  std::vector<double> inverse_frequencies;
};

// What transformers 5.23 computes when its tensors are float64.
TEST(RopeTest, YarnMatchesTransformers) {
  const YarnCase cases[] = {
      {R"({"rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768})",
       32,
       32768,
       131072,
       1.138629436111989,
       {1, 0.421696503429, 0.177827941004, 0.0749894209332, 0.0316227766017, 0.0133352143216,
        0.00477990126412, 0.00165996159396, 0.00055, 0.000168678601371, 4.4456985251e-05, 1.87473552333e-05,
        7.90569415042e-06, 3.33380358041e-06, 1.40585331298e-06, 5.92843426415e-07}},
      {R"({"factor": 8.0, "original_max_position_embeddings": 128, "beta_fast": 16, "beta_slow": 2})",
       16,
       4096,
       4096,
       1.2079441541679836,
       {1, 0.223994667595, 0.0416666666667, 0.00395284707521, 0.00125, 0.000395284707521, 0.000125,
        3.95284707521e-05}},
      // The original context is the model's where it is not given.
      {R"({"factor": 40.0, "mscale": 0.707, "mscale_all_dim": 0.5})",
       32,
       4096,
       163840,
       1.064468903941252,
       {1, 0.56234132519, 0.316227766017, 0.177827941004, 0.1, 0.056234132519, 0.027218175575,
        0.0128290157439, 0.00582142857143, 0.00249036872584, 0.000959977146837, 0.000292145903078, 2.5e-05,
        1.40585331298e-05, 7.90569415042e-06, 4.4456985251e-06}},
      {R"({"factor": 16.0, "original_max_position_embeddings": 4096, "attention_factor": 1.25,
           "truncate": false})",
       32,
       65536,
       65536,
       1.25,
       {1, 0.56234132519, 0.316227766017, 0.177827941004, 0.1, 0.056234132519, 0.0278613168646,
        0.0128985153162, 0.00569621440141, 0.00232756482675, 0.000816470623366, 0.000182229719224, 6.25e-05,
        3.51463328244e-05, 1.97642353761e-05, 1.11142463127e-05}},
      // The factor is what the context grew by where it is not given.
      {R"({"rope_theta": 5e5, "factor": null, "original_max_position_embeddings": 8192})",
       32,
       32768,
       32768,
       1.138629436111989,
       {1, 0.440366602672, 0.193922744749, 0.0853971002858, 0.0376060309309, 0.0140763740688,
        0.00510486531605, 0.00176629529711, 0.000565685424949, 0.000155693105479, 6.85620439191e-05,
        3.01924343529e-05, 1.32957397424e-05, 5.85499974035e-06, 2.5783463443e-06, 1.13541762015e-06}},
  };
  for (const YarnCase& c : cases) {
    nlohmann::json settings = nlohmann::json::parse(c.settings);
    settings["rope_type"] = "yarn";
    ModelConfig shape;
    shape.max_context = c.max_context;
    const auto rope = ReadConfig({{"rope_scaling", settings}}, c.dim, &shape);
    ASSERT_TRUE(rope.ok()) << rope.status();
    EXPECT_NEAR(rope->magnitude, c.magnitude, 1e-12) << c.settings;
    EXPECT_EQ(shape.max_context, c.extended_context) << c.settings;
    ASSERT_EQ(rope->frequency_divisors.size(), c.inverse_frequencies.size());
    for (size_t i = 0; i < c.inverse_frequencies.size(); ++i) {
      const double frequency =
          std::pow(rope->base, -2.0 * static_cast<double>(i) / c.dim) / rope->frequency_divisors[i];
      EXPECT_NEAR(frequency, c.inverse_frequencies[i], 1e-11 * c.inverse_frequencies[i])
          << c.settings << " at " << i;
    }
  }
}

TEST(RopeTest, TheOriginalContextMayLieOutside) {
  const nlohmann::json config = {{"original_max_position_embeddings", 128},
                                 {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 8.0}}}};
  const auto rope = ReadConfig(config);
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->frequency_divisors, YarnDivisors(10000.0, 16, {.factor = 8, .original_context = 128}));
}

TEST(RopeTest, RefusesOtherKindsByName) {
  for (const char* kind : {"dynamic", "longrope", "su", "proportional"}) {
    ExpectError(Read(std::string(R"({"rope_type": ")") + kind + R"(", "factor": 2.0})").status(),
                {"config.json: rope_parameters.rope_type is", kind, "not supported"});
  }
  ExpectError(Read(R"({"rope_type": "linear"})").status(), {"rope_parameters.factor is missing"});
  ExpectError(Read(R"({"rope_type": "linear", "factor": 0})").status(),
              {"factor is not a finite number above zero"});
  ExpectError(Read(R"({"rope_type": 3})").status(), {"rope_type is not a string"});
  ExpectError(Read(R"({"rope_theta": -1})").status(), {"rope_theta is not a finite number above zero"});
  ExpectError(Read(R"({"partial_rotary_factor": 0.5})").status(), {"partial_rotary_factor"});
  ExpectError(Read(R"({"llama_4_scaling_beta": 0.1})").status(), {"llama_4_scaling_beta is set"});
  ExpectError(Read(R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                       "original_max_position_embeddings": 128})")
                  .status(),
              {"high_freq_factor"});
  ExpectError(Read(R"({"rope_type": "yarn", "factor": -2})").status(),
              {"factor is not a finite number above zero"});
  ExpectError(Read(R"({"rope_type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2})").status(),
              {"beta_fast is below"});
  ExpectError(Read(R"({"rope_type": "yarn", "factor": 2, "mscale": -1})").status(),
              {"mscale is not a finite number from zero"});
  ExpectError(Read(R"({"rope_type": "yarn", "factor": 2, "rope_theta": 1})").status(),
              {"rope_theta is not above 1"});
}

}  // namespace
}  // namespace longspan
