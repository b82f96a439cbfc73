// Decodes one token over a very long KV that is filled as a function of (position, layer, KV head) alone, on
// several layouts of ranks, and compares the logits: equal bits between layouts, and close to a float64
// reference.
//
// usage: long_decode MODEL.gguf TOKENS [BOUND]   MODEL: with F32 weights; BOUND: largest difference to the
//        reference, in standard deviations of the logits (default 1e-3)
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>

#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/half.h"
#include "kvstore/block_manager.h"
#include "kvstore/shard_map.h"
#include "runtime/engine/worker.h"
#include "runtime/model/decoder.h"
#include "tests/support/reference_decoder.h"

namespace longspan::testing {
namespace {

constexpr int kBlockSize = 64;
constexpr int32_t kToken = 17;

// Multiples of 1/128 below 1: exact in bf16.
void StoredValue(int64_t position, int layer, int kv_head, int which, int head_dim, float* out) {
  uint64_t state = static_cast<uint64_t>(position) * 0x9E3779B97F4A7C15u +
                   static_cast<uint64_t>((layer * 64 + kv_head) * 2 + which) * 0xD1B54A32D192ED03u;
  for (int d = 0; d < head_dim; d += 8) {
    state ^= state >> 29;
    state *= 0xBF58476D1CE4E5B9u;
    state ^= state >> 32;
    for (int i = 0; i < 8 && d + i < head_dim; ++i) {
      out[d + i] = static_cast<float>(static_cast<int8_t>(state >> (8 * i))) / 128.0f;
    }
    state += static_cast<uint64_t>(d) + 1;
  }
}

// Writes one block's piece in the canonical byte order (kernels/backend.h, KvLayout).
void FillPiece(std::byte* piece, int64_t block, int64_t tokens, int layer, int kv_head, int head_dim) {
  uint16_t* k = reinterpret_cast<uint16_t*>(piece);
  uint16_t* v = k + kBlockSize * head_dim;
  std::vector<float> values(static_cast<size_t>(head_dim));
  for (int t = 0; t < kBlockSize; ++t) {
    const int64_t position = block * kBlockSize + t;
    if (position >= tokens) return;
    StoredValue(position, layer, kv_head, 0, head_dim, values.data());
    for (int d = 0; d < head_dim; ++d)
      k[d / 2 * kBlockSize * 2 + t * 2 + d % 2] = F32ToBf16(values[static_cast<size_t>(d)]);
    StoredValue(position, layer, kv_head, 1, head_dim, values.data());
    for (int d = 0; d < head_dim; ++d)
      v[t / 2 * head_dim * 2 + d * 2 + t % 2] = F32ToBf16(values[static_cast<size_t>(d)]);
  }
}

// The batch that decodes position `tokens`, with all blocks that it can see granted.
StepBatch MakeBatch(const ModelConfig& config, int64_t tokens, int kvp, int layers_per_page) {
  BatchSequence sequence;
  sequence.starts = true;
  sequence.first_position = tokens;
  sequence.tokens = {kToken};
  sequence.logits = LogitRows::kLast;
  std::vector<int32_t> next_page(static_cast<size_t>(kvp), 0);
  for (size_t g = 0; g < config.groups.size(); ++g) {
    const int64_t first = FirstVisibleBlock(tokens, config.groups[g].window, kBlockSize);
    sequence.first_live_blocks.push_back(first);
    for (int64_t block = first; block <= tokens / kBlockSize; ++block) {
      BlockGrant grant;
      grant.layer_group = static_cast<int32_t>(g);
      grant.block_index = block;
      int32_t& page = next_page[static_cast<size_t>(BlockOwner(block, 0, kvp))];
      for (size_t i = 0; i < config.groups[g].layers.size() / static_cast<size_t>(layers_per_page); ++i) {
        grant.pages.push_back(page++);
      }
      sequence.grants.push_back(std::move(grant));
    }
  }
  StepBatch batch;
  batch.sequences.push_back(std::move(sequence));
  return batch;
}

void FillStore(const ModelConfig& config, const StepBatch& batch, int64_t tokens, int layers_per_page,
               const KvLayout& layout, int kvp, int kvp_rank, std::byte* pages) {
  const size_t page_bytes = layout.layer_bytes() * static_cast<size_t>(layers_per_page);
  for (const BlockGrant& grant : batch.sequences[0].grants) {
    if (BlockOwner(grant.block_index, 0, kvp) != kvp_rank) continue;
    const std::vector<int>& layers = config.groups[static_cast<size_t>(grant.layer_group)].layers;
    for (size_t j = 0; j < layers.size(); ++j) {
      std::byte* layer_base =
          pages + static_cast<size_t>(grant.pages[j / static_cast<size_t>(layers_per_page)]) * page_bytes +
          j % static_cast<size_t>(layers_per_page) * layout.layer_bytes();
      for (int head = 0; head < layout.kv_heads; ++head) {
        FillPiece(layer_base + static_cast<size_t>(head) * layout.piece_bytes(), grant.block_index, tokens,
                  layers[j], head, layout.head_dim);
      }
    }
  }
}

std::vector<float> DecodeOn(const ModelSource& source, int64_t tokens, int kvp) {
  const ModelConfig& config = source.config();
  size_t layers_per_page = 0;
  for (const LayerGroupConfig& group : config.groups)
    layers_per_page = std::gcd(layers_per_page, group.layers.size());
  const StepBatch batch = MakeBatch(config, tokens, kvp, static_cast<int>(layers_per_page));
  auto communicators = CreateThreadCommunicators(kvp);
  std::vector<float> result;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kvp; ++rank) {
    threads.emplace_back([&, rank] {
      CpuBackendOptions backend_options;
      backend_options.threads = kvp == 1 ? 2 : 1;
      backend_options.activation = ActivationDType::kF32;
      const std::unique_ptr<Backend> backend = *CreateCpuBackend(backend_options);
      const ShardPlan plan = PlanShard(config, 1, kvp, rank);
      Communicator& group = *communicators[static_cast<size_t>(rank)];
      std::unique_ptr<Communicator> kvp_group;
      if (kvp > 1) kvp_group = *group.Split(0, rank);
      ProgressRecord record;
      DecoderOptions options;
      options.record = &record;
      options.kv_layout = {kBlockSize, config.head_dim, plan.kv_heads, DType::kBF16};
      options.layers_per_page = static_cast<int>(layers_per_page);
      options.max_rows = options.max_logits = 1;
      options.max_split_rows = Worker::MaxSplitRows(config, plan, backend->threads());
      const auto decoder = *Decoder::Create(source, plan, *backend, group, kvp_group.get(), options, {});
      WorkerOptions worker_options;
      worker_options.record = &record;
      worker_options.kv_layout = options.kv_layout;
      worker_options.layers_per_page = options.layers_per_page;
      for (const BlockGrant& grant : batch.sequences[0].grants) {
        if (BlockOwner(grant.block_index, 0, kvp) == rank)
          worker_options.num_pages += static_cast<int64_t>(grant.pages.size());
      }
      const auto worker = *Worker::Create(config, plan, *decoder, *backend, worker_options);
      FillStore(config, batch, tokens, options.layers_per_page, options.kv_layout, kvp, rank,
                worker->kv_pages());
      const std::span<const float> logits = *worker->Run(batch);
      if (rank == 0) result.assign(logits.begin(), logits.end());
    });
  }
  for (std::thread& thread : threads) thread.join();
  return result;
}

int Run(const std::string& path, int64_t tokens, double bound) {
  absl::StatusOr<std::unique_ptr<ModelSource>> source = ModelSource::Open(path);
  if (!source.ok()) {
    std::fprintf(stderr, "long_decode: %s\n", source.status().ToString().c_str());
    return 1;
  }
  const int head_dim = (*source)->config().head_dim;
  const std::vector<float> expected = DecodeOn(**source, tokens, 1);
  bool equal = true;
  for (int kvp : {2, 8}) {
    const std::vector<float> actual = DecodeOn(**source, tokens, kvp);
    const bool same = actual.size() == expected.size() &&
                      std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)) == 0;
    std::printf("%lld tokens of KV: kvp %d %s kvp 1\n", static_cast<long long>(tokens), kvp,
                same ? "equals" : "DIFFERS FROM");
    equal = equal && same;
  }
  const std::vector<double> reference = ReferenceLogits(
      **source, kToken, tokens, [head_dim](int64_t position, int layer, int head, int which, float* out) {
        StoredValue(position, layer, head, which, head_dim, out);
      });
  double mean = 0, variance = 0, largest = 0;
  for (double v : reference) mean += v / static_cast<double>(reference.size());
  for (double v : reference) variance += (v - mean) * (v - mean) / static_cast<double>(reference.size());
  for (size_t i = 0; i < reference.size(); ++i)
    largest = std::max(largest, std::fabs(reference[i] - static_cast<double>(expected[i])));
  const double share = largest / std::sqrt(variance);
  std::printf(
      "largest difference to the float64 reference: %.2e standard deviations of the logits (bound %.0e)\n",
      share, bound);
  return equal && share <= bound ? 0 : 1;
}

}  // namespace
}  // namespace longspan::testing

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: long_decode MODEL.gguf TOKENS [BOUND]\n");
    return 2;
  }
  return longspan::testing::Run(argv[1], std::atoll(argv[2]), argc > 3 ? std::atof(argv[3]) : 1e-3);
}
