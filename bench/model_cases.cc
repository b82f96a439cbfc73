#include "bench/model_cases.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/model_work.h"
#include "kernels/check.h"
#include "kernels/cpu/half.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/sampler.h"
#include "tests/support/random_values.h"

namespace longspan::bench {
namespace {

constexpr int64_t kWarmUpTokens = 1024;  // what the first run of a longer prompt loses does not show
constexpr int64_t kDecodedTokens = 512;  // of a sequence; then it starts again at its depth

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "longspan_model_bench: %s\n", value.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(value);
}

void OrDie(const absl::Status& status) {
  if (!status.ok()) OrDie(absl::StatusOr<int>(status));
}

// Sequences that decode together from a depth on, with blocks as the engine gives them out. Greedy.
class DecodeLoop {
 public:
  DecodeLoop(Group& group, int64_t vocab_size, int64_t batch, int64_t depth, int64_t chunk_tokens)
      : group_(group),
        vocab_size_(vocab_size),
        end_(depth + kDecodedTokens),
        blocks_(OrDie(BlockManager::Create(group.geometry()))),
        sampler_(vocab_size) {
    for (int64_t i = 0; i < batch; ++i) {
      const int shift = blocks_->reservations().ChooseShift({end_, chunk_tokens});
      if (!blocks_->reservations().CanReserve({end_, chunk_tokens}, shift)) {
        OrDie(absl::ResourceExhaustedError(absl::StrCat("the memory left for KV holds ", i, " of ", batch,
                                                        " sequences of ", end_,
                                                        " tokens; take smaller --batches or --depths")));
      }
      Sequence& sequence = sequences_.emplace_back();
      sequence.table = blocks_->Reserve({end_, chunk_tokens}, shift);
      sequence.part.slot = static_cast<int32_t>(i);
      sequence.part.starts = true;
      sequence.part.shift = shift;
      sequence.part.first_position = depth;
      sequence.part.tokens = {static_cast<int32_t>((i + 2) % vocab_size)};
      sequence.part.logits = LogitRows::kLast;
      for (int64_t begin = 0; begin < depth; begin += chunk_tokens) {
        Grow(sequence, begin, std::min(begin + chunk_tokens, depth));
      }
      Grow(sequence, depth, depth + 1);
    }
  }

  // Whether another step fits.
  bool CanStep() const { return sequences_[0].part.first_position < end_; }

  void Step() {
    StepBatch batch;
    batch.step = step_++;
    for (const Sequence& sequence : sequences_) batch.sequences.push_back(sequence.part);
    std::span<const float> logits = OrDie(group_.Execute(batch));
    for (Sequence& sequence : sequences_) {
      BatchSequence& part = sequence.part;
      const auto row = logits.first(static_cast<size_t>(vocab_size_));
      logits = logits.subspan(row.size());
      part.tokens[0] = OrDie(sampler_.Sample(row, {}, /*seed=*/0, part.first_position, {}));
      part.starts = false;
      part.grants.clear();
      ++part.first_position;
      if (part.first_position < end_) Grow(sequence, part.first_position, part.first_position + 1);
    }
  }

 private:
  struct Sequence {
    BlockTable table;
    BatchSequence part;  // of the next step
  };

  // Gives the part the blocks up to `end`, without those that nothing from `begin` on can see.
  void Grow(Sequence& sequence, int64_t begin, int64_t end) {
    BatchSequence& part = sequence.part;
    blocks_->Trim(sequence.table, begin);
    const std::vector<BlockGrant> grants = blocks_->Extend(sequence.table, end);
    part.grants.insert(part.grants.end(), grants.begin(), grants.end());
    part.first_live_blocks = sequence.table.first_live_blocks();
    std::erase_if(part.grants, [&part](const BlockGrant& grant) {
      return grant.block_index < part.first_live_blocks[static_cast<size_t>(grant.layer_group)];
    });
  }

  Group& group_;
  const int64_t vocab_size_, end_;
  const std::unique_ptr<BlockManager> blocks_;
  Sampler sampler_;
  std::vector<Sequence> sequences_;
  int64_t step_ = 0;
};

// One request through the engine, from its submission until its first token.
class PrefillRun {
 public:
  PrefillRun(const ModelConfig& config, Group& group, int64_t tokens, int64_t chunk_tokens) {
    EngineOptions options;
    options.geometry = group.geometry();
    options.chunk_tokens = chunk_tokens;
    options.max_sequences = 1;
    options.max_context = group.options().max_context;
    options.vocab_size = config.vocab_size;
    options.max_logit_rows = group.options().max_logit_rows;
    engine_ = OrDie(Engine::Create(options, &group));
    RandomValues random(static_cast<uint64_t>(tokens));
    for (int64_t i = 0; i < tokens; ++i)
      request_.prompt.push_back(static_cast<int32_t>(random.Below(config.vocab_size)));
    request_.max_tokens = 1;
    request_.ignore_eos = true;
  }

  void Run() {
    RequestListener listener;
    OrDie(engine_->Submit(Copy(request_), &listener).status());
    while (engine_->HasWork()) OrDie(engine_->Step());
  }

 private:
  std::unique_ptr<Engine> engine_;
  Request request_;
};

uint64_t Sum(const std::vector<uint64_t>& values) {
  return std::accumulate(values.begin(), values.end(), uint64_t{0});
}

// The time of runs, and of the communication in them.
struct RunTimes {
  double seconds = 0, communication_seconds = 0;
};

}  // namespace

int64_t ModelCaseOptions::MaxContext() const {
  int64_t most = 0;
  for (int64_t depth : depths) most = std::max(most, depth + kDecodedTokens);
  for (int64_t tokens : prefills) most = std::max(most, tokens + 1);
  return most;
}

int64_t ModelCaseOptions::MaxSequences() const {
  return batches.empty() ? 1 : *std::max_element(batches.begin(), batches.end());
}

void FillKv(Group& group) {
  const std::span<std::byte> memory = group.kv_memory();
  std::vector<uint16_t> values;
  for (float value : RandomValues(1).Floats(1 << 19)) values.push_back(F32ToBf16(value));
  for (size_t done = 0; done < memory.size();) {
    const size_t count = std::min(memory.size() - done, values.size() * sizeof(uint16_t));
    std::memcpy(memory.data() + done, values.data(), count);
    done += count;
  }
}

void RunModelCases(const ModelSource& source, Group& group, int threads, const ModelCaseOptions& options,
                   Measurement& measurement) {
  const ModelConfig& config = source.config();
  const ModelWork work(source);
  const GroupReport report = OrDie(group.Report());
  const bool alone = report.hosts.size() == 1;
  const std::string grid = alone ? "" : absl::StrCat("/tp=", report.tp, "/kvp=", report.kvp);
  double weight_bytes = static_cast<double>(Sum(report.weight_bytes));
  if (!config.tied_embedding) {  // of which a step reads a few rows
    const WeightView embedding = source.Weight(WeightRole::kEmbedding);
    weight_bytes -= static_cast<double>(RowBytes(embedding.entry->dtype, embedding.columns)) *
                    static_cast<double>(embedding.rows);
  }

  std::unique_ptr<DecodeLoop> decode;
  std::vector<std::unique_ptr<RunTimes>> times;
  std::vector<Case> cases;
  const auto add = [&](Case timed, double tokens, std::function<void()> run) {
    RunTimes& sums = *times.emplace_back(std::make_unique<RunTimes>());
    timed.threads = threads;
    timed.amount = tokens;
    timed.unit = "tokens/s";
    timed.run = [&sums, &group, run = std::move(run)] {
      const double before = group.comm_counters().TotalSeconds();
      const auto begin = std::chrono::steady_clock::now();
      run();
      sums.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      sums.communication_seconds += group.comm_counters().TotalSeconds() - before;
    };
    if (!alone) timed.communication = [&sums] { return sums.communication_seconds / sums.seconds; };
    cases.push_back(std::move(timed));
  };
  for (int64_t tokens : options.prefills) {
    Case timed;
    timed.name = absl::StrCat("prefill/tokens=", tokens, grid);
    if (!measurement.Wants(timed.name, threads)) continue;
    timed.warm_up = tokens <= kWarmUpTokens;
    timed.bytes = weight_bytes;
    timed.footprint_bytes = static_cast<size_t>(weight_bytes);
    timed.arithmetic = work.ArithmeticOf(0, tokens, 1);
    const auto prefill = std::make_shared<PrefillRun>(config, group, tokens, options.chunk_tokens);
    add(std::move(timed), static_cast<double>(tokens), [prefill] { prefill->Run(); });
  }
  for (int64_t depth : options.depths) {
    for (int64_t batch : options.batches) {
      Case timed;
      timed.name = absl::StrCat("decode/batch=", batch, "/depth=", depth, grid);
      if (!measurement.Wants(timed.name, threads)) continue;
      const auto sequences = static_cast<double>(batch);
      timed.warm_up = false;  // prepare runs a step
      timed.bytes = weight_bytes + sequences * work.KvBytes(depth);
      timed.footprint_bytes = static_cast<size_t>(timed.bytes);
      timed.arithmetic = work.ArithmeticOf(depth, 1, 1);
      for (Arithmetic& part : timed.arithmetic) part.operations *= sequences;
      const auto start = [&, batch, depth] {
        decode = std::make_unique<DecodeLoop>(group, config.vocab_size, batch, depth, options.chunk_tokens);
      };
      timed.prepare = [&decode, start] {
        start();
        decode->Step();
      };
      add(std::move(timed), sequences, [&decode, start] {
        if (!decode->CanStep()) start();
        decode->Step();
      });
    }
  }
  measurement.Run(cases);
}

}  // namespace longspan::bench
