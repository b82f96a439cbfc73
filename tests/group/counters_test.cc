// What ranks send to each other, against the formulas of ARCHITECTURE.md.
#include <gtest/gtest.h>

#include "runtime/model/shard.h"
#include "tests/group/goldens.h"
#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

constexpr uint64_t kF = sizeof(float);

// Bytes that `rank` sends in one step of n tokens of which it embeds `own_tokens`, with m rows of logits.
uint64_t BytesOfStep(const ModelConfig& config, int tp, int kvp, int rank, uint64_t n, uint64_t own_tokens,
                     uint64_t m) {
  const ShardPlan plan = PlanShard(config, tp, kvp, rank);
  const uint64_t ranks = static_cast<uint64_t>(tp * kvp), k = static_cast<uint64_t>(plan.kvp_rank());
  const auto hidden = static_cast<uint64_t>(config.hidden_size);
  uint64_t bytes = (ranks - 1) * own_tokens * hidden * kF;  // embedding
  uint64_t layer = 0;
  layer += static_cast<uint64_t>(kvp - 1) * n * static_cast<uint64_t>(plan.qkv[k].size()) * kF;
  for (int other = 0; other < kvp; ++other) {
    if (other == plan.kvp_rank()) continue;
    const HeadSlice& slice = plan.attention[static_cast<size_t>(other)];
    layer += n * static_cast<uint64_t>(slice.width() + slice.NumHeads(config.head_dim)) * kF;
  }
  const uint64_t elements = n * hidden;
  const uint64_t mine =
      elements * (static_cast<uint64_t>(rank) + 1) / ranks - elements * static_cast<uint64_t>(rank) / ranks;
  layer += 2 * ((elements - mine) + (ranks - 1) * mine) * kF;  // reduce-scatter and all-gather, twice
  bytes += static_cast<uint64_t>(config.num_layers) * layer;
  if (rank != 0) bytes += m * static_cast<uint64_t>(plan.vocab[static_cast<size_t>(rank)].size()) * kF;
  return bytes;
}

TEST(CountersTest, BytesAndOperationsFollowTheFormulas) {
  for (const char* name : {"llama3-gqa", "gemma3-dual"}) {
    const Golden golden = FindGolden(name);
    const std::unique_ptr<ModelSource> source = *ModelSource::Open(golden.model_path);
    const ModelConfig& config = source->config();
    Request request;
    request.prompt = golden.Tokens();
    request.prompt.resize(20);
    request.max_tokens = 1;  // one step: the prompt, with one row of logits
    request.ignore_eos = true;
    for (auto [tp, kvp] : {std::pair{1, 1}, {1, 2}, {1, 8}, {2, 1}, {2, 2}, {4, 2}}) {
      LocalGroupOptions options;
      options.tp = tp;
      options.kvp = kvp;
      const GroupRun run = RunLocalGroup(golden.model_path, {&request, 1}, options);
      ASSERT_EQ(run.steps, 1);
      uint64_t all_bytes = 0;
      for (int rank = 0; rank < tp * kvp; ++rank) {
        const Range vocab = PlanShard(config, tp, kvp, rank).vocab[static_cast<size_t>(rank)];
        uint64_t own = 0;
        for (int32_t token : request.prompt) own += token >= vocab.begin && token < vocab.end;
        EXPECT_EQ(run.report.comm_bytes[static_cast<size_t>(rank)],
                  BytesOfStep(config, tp, kvp, rank, 20, own, 1))
            << name << " tp " << tp << " kvp " << kvp << " rank " << rank;
        // Embedding and logits once; a layer: QKV and partials over kvp, two sums of two operations each, of
        // one with two ranks.
        const uint64_t layers = static_cast<uint64_t>(config.num_layers);
        const uint64_t sums = tp * kvp == 2 ? 2 : 4;
        const uint64_t expected = tp * kvp == 1 ? 0 : 2 + layers * (sums + (kvp > 1 ? 2 : 0));
        EXPECT_EQ(run.report.comm_operations[static_cast<size_t>(rank)], expected);
        all_bytes += run.report.comm_bytes[static_cast<size_t>(rank)];
      }
      if (tp * kvp == 1) {
        EXPECT_EQ(all_bytes, 0u);
      }
    }
  }
}

// Nothing that is sent grows with the context: a decoded token costs the same bytes after 16 and after 150
// tokens.
TEST(CountersTest, BytesOfATokenDoNotGrowWithTheContext) {
  const Golden golden = FindGolden("llama3-gqa");
  LocalGroupOptions options;
  options.kvp = 4;
  const auto bytes = [&](size_t prompt, int64_t output) {
    Request request;
    request.prompt = golden.Tokens();
    request.prompt.resize(prompt);
    request.max_tokens = output;
    request.ignore_eos = true;
    uint64_t sum = 0;
    for (uint64_t b : RunLocalGroup(golden.model_path, {&request, 1}, options).report.comm_bytes) sum += b;
    return sum;
  };
  EXPECT_EQ(bytes(16, 9) - bytes(16, 1), bytes(150, 9) - bytes(150, 1));
}

}  // namespace
}  // namespace longspan::testing
