// What the tests of the engine share: a listener that writes everything down, and an oracle.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/sampler.h"
#include "tests/engine/fake_executor.h"

namespace longspan {

class RecordingListener : public RequestListener {
 public:
  void OnStart() override {
    EXPECT_FALSE(reason) << "a start after the end";
    EXPECT_FALSE(started) << "started twice";
    started = true;
  }
  void OnLogits(int64_t position, std::span<const float> logits) override {
    EXPECT_TRUE(started);
    EXPECT_FALSE(reason) << "logits after the end";
    if (!positions.empty()) {
      EXPECT_EQ(position, positions.back() + 1);
    }
    positions.push_back(position);
    last_logits.assign(logits.begin(), logits.end());
  }
  bool OnToken(int32_t token) override {
    EXPECT_FALSE(reason) << "a token after the end";
    tokens.push_back(token);
    return static_cast<int64_t>(tokens.size()) != stop_after;
  }
  void OnFinish(FinishReason finish_reason) override {
    EXPECT_FALSE(reason) << "finished twice";
    reason = finish_reason;
  }

  int64_t stop_after = -1;
  bool started = false;
  std::vector<int64_t> positions;
  std::vector<float> last_logits;
  std::vector<int32_t> tokens;
  std::optional<FinishReason> reason;
};

// An executor whose steps take time.
class TimedExecutor : public Executor {
 public:
  TimedExecutor(FakeExecutor* executor, ManualClock* clock, std::function<double(const StepBatch&)> seconds)
      : executor_(executor), clock_(clock), seconds_(std::move(seconds)) {}

  absl::StatusOr<std::span<const float>> Execute(const StepBatch& batch) override {
    clock_->Advance(std::chrono::nanoseconds(static_cast<int64_t>(seconds_(batch) * 1e9)));
    return executor_->Execute(batch);
  }
  int host_threads() const override { return executor_->host_threads(); }
  void HostFor(int64_t count, absl::FunctionRef<void(int64_t, int)> body) override {
    executor_->HostFor(count, body);
  }

 private:
  FakeExecutor* const executor_;
  ManualClock* const clock_;
  const std::function<double(const StepBatch&)> seconds_;
};

// The output of a request that has the toy model for itself: no engine, no batch, no KV.
inline std::vector<int32_t> ExpectedOutput(const Request& request, uint64_t seed, int64_t max_tokens,
                                           const EngineOptions& options) {
  Sampler sampler(options.vocab_size);
  TokenCounts counts;
  for (const int32_t token : request.prompt) counts.AddPrompt(token);
  std::vector<int32_t> tokens = request.prompt;
  std::vector<int32_t> output;
  while (static_cast<int64_t>(output.size()) < max_tokens) {
    const int32_t token = *sampler.Sample(ToyLogits(tokens, options.vocab_size), request.sampling, seed,
                                          static_cast<int64_t>(tokens.size()), counts);
    tokens.push_back(token);
    output.push_back(token);
    counts.AddOutput(token);
    const bool is_eos = std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), token) !=
                        options.eos_token_ids.end();
    if (is_eos && !request.ignore_eos) break;
  }
  return output;
}

inline FakeExecutor::Options ExecutorOptions(const EngineOptions& options) {
  return {.geometry = options.geometry,
          .vocab_size = options.vocab_size,
          .chunk_tokens = options.chunk_tokens,
          .max_sequences = options.max_sequences,
          .max_logit_rows = options.max_logit_rows,
          .fails_at_step = std::nullopt,
          .nan_after = std::nullopt};
}

inline void ExpectWithinPromises(const BlockManager& blocks) {
  for (int k = 0; k < blocks.geometry().kvp; ++k) {
    EXPECT_LE(blocks.in_use(k), blocks.reservations().reserved(k)) << "rank " << k;
    EXPECT_LE(blocks.reservations().reserved(k), blocks.reservations().capacity(k)) << "rank " << k;
  }
}

inline void ExpectEmpty(const BlockManager& blocks) {
  for (int k = 0; k < blocks.geometry().kvp; ++k) {
    EXPECT_EQ(blocks.in_use(k), 0) << "rank " << k;
    EXPECT_EQ(blocks.reservations().reserved(k), 0) << "rank " << k;
  }
}

}  // namespace longspan
