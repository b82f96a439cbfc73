#include "runtime/model/families/rope.h"

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

absl::StatusOr<RopeConfig> Read(const std::string& text) {
  return ReadRope(nlohmann::json::parse(text), "config.json", "rope_parameters.", 10000.0, 16);
}

TEST(RopeTest, ReadsKinds) {
  auto rope = Read("{}");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 10000.0);
  EXPECT_EQ(rope->dim, 16);
  EXPECT_TRUE(rope->frequency_divisors.empty());

  rope = Read(R"({"rope_type": "default", "rope_theta": 500000})");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->base, 500000.0);

  rope = Read(R"({"type": "linear", "factor": 4.0})");
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->frequency_divisors, std::vector<double>(8, 4.0));
}

TEST(RopeTest, RefusesOtherKindsByName) {
  for (const char* kind : {"yarn", "dynamic", "longrope", "su"}) {
    ExpectError(Read(std::string(R"({"rope_type": ")") + kind + R"(", "factor": 2.0})").status(),
                {"config.json: rope_parameters.rope_type is", kind, "not supported"});
  }
  ExpectError(Read(R"({"rope_type": "linear"})").status(), {"rope_parameters.factor is missing"});
  ExpectError(Read(R"({"rope_type": "linear", "factor": 0})").status(),
              {"factor is not a finite number above zero"});
  ExpectError(Read(R"({"rope_type": 3})").status(), {"rope_type is not a string"});
  ExpectError(Read(R"({"rope_theta": -1})").status(), {"rope_theta is not a finite number above zero"});
  ExpectError(Read(R"({"partial_rotary_factor": 0.5})").status(), {"partial_rotary_factor"});
  ExpectError(Read(R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                       "original_max_position_embeddings": 128})")
                  .status(),
              {"high_freq_factor"});
}

}  // namespace
}  // namespace longspan
