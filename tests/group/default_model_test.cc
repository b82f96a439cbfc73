// Greedy continuations of the default model against a float32 reference (tests/goldens/README.md).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

struct GreedyCase {
  Request request;
  std::vector<int32_t> expected;
  std::vector<double> margins;
};

std::vector<GreedyCase> ReadCases() {
  std::ifstream file(LONGSPAN_GOLDENS_DIR "/default-model/greedy.json");
  std::vector<GreedyCase> cases;
  for (const nlohmann::json& json : nlohmann::json::parse(file)) {
    GreedyCase c;
    c.request.prompt = json.at("prompt_token_ids").get<std::vector<int32_t>>();
    c.expected = json.at("token_ids").get<std::vector<int32_t>>();
    c.margins = json.at("margins").get<std::vector<double>>();
    c.request.max_tokens = static_cast<int64_t>(c.expected.size());
    c.request.ignore_eos = true;
    cases.push_back(std::move(c));
  }
  return cases;
}

// All cases as one batch; the first token that differs must come where the reference's best two are nearly
// tied.
void ExpectGreedy(ActivationDType activation, DType kv_dtype, int kvp, double largest_margin) {
  const char* model = std::getenv("LONGSPAN_TEST_MODEL");
  ASSERT_NE(model, nullptr)
      << "set LONGSPAN_TEST_MODEL to the default model; launcher/fetch-model prints its path";
  const std::vector<GreedyCase> cases = ReadCases();
  std::vector<Request> requests;
  for (const GreedyCase& c : cases) requests.push_back(Copy(c.request));
  LocalGroupOptions options;
  options.activation = activation;
  options.kv_dtype = kv_dtype;
  options.kvp = kvp;
  options.threads = kvp == 1 ? 2 : 1;
  options.kv_bytes = uint64_t{512} << 20;
  const GroupRun run = RunLocalGroup(model, requests, options);
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<int32_t>& actual = run.results[i].tokens;
    ASSERT_EQ(actual.size(), cases[i].expected.size());
    for (size_t t = 0; t < actual.size(); ++t) {
      if (actual[t] == cases[i].expected[t]) continue;
      EXPECT_LT(cases[i].margins[t], largest_margin) << "case " << i << ", token " << t;
      break;
    }
  }
}

TEST(DefaultModelTest, GreedyWithExactActivations) {
  ExpectGreedy(ActivationDType::kF32, DType::kF32, 1, 0.02);
}
TEST(DefaultModelTest, GreedyWithExactActivationsOnFourRanks) {
  ExpectGreedy(ActivationDType::kF32, DType::kF32, 4, 0.02);
}
TEST(DefaultModelTest, GreedyWithDefaults) { ExpectGreedy(ActivationDType::kAuto, DType::kBF16, 1, 0.25); }
TEST(DefaultModelTest, GreedyWithDefaultsOnFourRanks) {
  ExpectGreedy(ActivationDType::kAuto, DType::kBF16, 4, 0.25);
}

}  // namespace
}  // namespace longspan::testing
