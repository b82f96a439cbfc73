// The same bits on any layout of ranks, any batch, any chunk size, any number of threads, any backend timing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_backend.h"
#include "tests/group/goldens.h"
#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

struct Grid {
  int tp, kvp;
};

// A greedy continuation of the golden's own tokens, so that prefill and decode both take part.
Request Continuation(const Golden& golden, size_t prompt_tokens, int64_t output_tokens) {
  Request request;
  request.prompt = golden.Tokens();
  request.prompt.resize(std::min(prompt_tokens, request.prompt.size()));
  request.max_tokens = output_tokens;
  request.ignore_eos = true;
  return request;
}

void ExpectSameBits(const Generated& actual, const Generated& expected, const std::string& what) {
  EXPECT_EQ(actual.tokens, expected.tokens) << what;
  ASSERT_EQ(actual.logits.size(), expected.logits.size()) << what;
  EXPECT_EQ(std::memcmp(actual.logits.data(), expected.logits.data(), actual.logits.size() * sizeof(float)),
            0)
      << what;
}

LocalGroupOptions DefaultOptions(int tp = 1, int kvp = 1) {
  LocalGroupOptions options;
  options.tp = tp;
  options.kvp = kvp;
  options.block_size = 16;  // many blocks in a short prompt
  options.kv_dtype = DType::kBF16;
  options.activation = ActivationDType::kAuto;
  return options;
}

class SameBitsTest : public ::testing::TestWithParam<std::string> {
 protected:
  Golden golden_ = FindGolden(GetParam());
};

TEST_P(SameBitsTest, AnyGrid) {
  const Request request = Continuation(golden_, 150, 12);
  const Generated expected = RunLocalGroup(golden_.model_path, {&request, 1}, DefaultOptions()).results[0];
  for (const Grid& grid : {Grid{1, 2}, {1, 4}, {1, 8}, {2, 1}, {2, 2}, {2, 4}, {4, 1}, {4, 2}}) {
    const GroupRun run = RunLocalGroup(golden_.model_path, {&request, 1}, DefaultOptions(grid.tp, grid.kvp));
    ExpectSameBits(run.results[0], expected,
                   "tp " + std::to_string(grid.tp) + " kvp " + std::to_string(grid.kvp));
  }
}

TEST_P(SameBitsTest, AnyChunkSizeThreadsAndBatch) {
  const Request request = Continuation(golden_, 150, 12);
  const Generated expected = RunLocalGroup(golden_.model_path, {&request, 1}, DefaultOptions()).results[0];
  for (int64_t chunk : {1, 7, 64, 2048}) {
    LocalGroupOptions options = DefaultOptions(1, 2);
    options.chunk_tokens = chunk;
    ExpectSameBits(RunLocalGroup(golden_.model_path, {&request, 1}, options).results[0], expected,
                   "chunk " + std::to_string(chunk));
  }
  for (int threads : {2, 3}) {
    LocalGroupOptions options = DefaultOptions();
    options.threads = threads;
    ExpectSameBits(RunLocalGroup(golden_.model_path, {&request, 1}, options).results[0], expected,
                   "threads " + std::to_string(threads));
  }
  std::vector<Request> batch;
  for (size_t length : {3, 17, 40, 150, 99, 1, 64, 65}) batch.push_back(Continuation(golden_, length, 20));
  batch.insert(batch.begin() + 3, Copy(request));
  for (const Grid& grid : {Grid{1, 1}, {1, 4}, {2, 2}}) {
    LocalGroupOptions options = DefaultOptions(grid.tp, grid.kvp);
    options.chunk_tokens = 48;
    options.threads = 2;
    ExpectSameBits(RunLocalGroup(golden_.model_path, batch, options).results[3], expected, "in a batch");
  }
}

// Work that runs later, on memory that host code cannot read: what the seam asks of a GPU.
TEST_P(SameBitsTest, DeferredBackend) {
  const Request request = Continuation(golden_, 80, 6);
  const Generated expected = RunLocalGroup(golden_.model_path, {&request, 1}, DefaultOptions()).results[0];
  for (const Grid& grid : {Grid{1, 1}, {1, 4}, {2, 2}}) {
    LocalGroupOptions options = DefaultOptions(grid.tp, grid.kvp);
    options.deferred = true;
    ExpectSameBits(RunLocalGroup(golden_.model_path, {&request, 1}, options).results[0], expected,
                   "deferred");
  }
}

TEST_P(SameBitsTest, EveryInstructionSet) {
  const Request request = Continuation(golden_, 40, 4);
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kPortable}) {
    if (!IsaSupported(isa)) continue;
    LocalGroupOptions options = DefaultOptions();
    options.isa = isa;
    const Generated expected = RunLocalGroup(golden_.model_path, {&request, 1}, options).results[0];
    LocalGroupOptions sharded = DefaultOptions(2, 2);
    sharded.isa = isa;
    ExpectSameBits(RunLocalGroup(golden_.model_path, {&request, 1}, sharded).results[0], expected,
                   std::string(Name(isa)));
  }
}

// Three ranks do not divide the eight ways of the sums: another order, so equal only within rounding.
TEST_P(SameBitsTest, OtherNumbersOfRanksRun) {
  const std::vector<int32_t> tokens = Continuation(golden_, 100, 0).prompt;
  LocalGroupOptions options = DefaultOptions();
  options.activation = ActivationDType::kF32;
  options.kv_dtype = DType::kF32;
  const std::vector<float> expected = PromptLogits(golden_.model_path, tokens, options);
  for (const Grid& grid : {Grid{1, 3}, {2, 3}, {1, 5}, {1, 7}}) {
    options.tp = grid.tp;
    options.kvp = grid.kvp;
    const std::vector<float> actual = PromptLogits(golden_.model_path, tokens, options);
    ASSERT_EQ(actual.size(), expected.size());
    float largest = 0;
    for (size_t i = 0; i < actual.size(); ++i) largest = std::max(largest, std::abs(actual[i] - expected[i]));
    EXPECT_LE(largest, 1e-3f) << "tp " << grid.tp << " kvp " << grid.kvp;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, SameBitsTest,
                         ::testing::Values("llama3-gqa", "llama3-bf16", "qwen2-bias", "gemma2-softcap",
                                           "gemma3-dual", "gguf-llama-q8_0", "gguf-llama-q4_k",
                                           "gguf-llama-q6_k"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace longspan::testing
