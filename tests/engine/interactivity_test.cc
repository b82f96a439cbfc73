// How the engine shares its steps between prompts and running streams, on a simulated machine: a clock that
// the steps advance by what they would cost, with noise from a printed seed.
#include <algorithm>
#include <numeric>
#include <random>

#include "gtest/gtest.h"
#include "tests/engine/engine_harness.h"

namespace longspan {
namespace {

// Two cores with a small model, as measured: half of a decode step is the product for the logits, and a token
// of a prompt costs three times as much at position 20,000 as at the beginning.
struct MachineCosts {
  double step = 0.001, logits = 0.008, decode = 0.0012, decode_context = 2e-8;
  double token = 0.00041, prefix = 5.2e-8;  // of prompts, beside decodes
  double alone = 1.15;                      // times that, without decodes
  double noise = 0.03;                      // relative
  double delay = 0.001;                     // by other processes, on average
};

class StreamListener : public RecordingListener {
 public:
  StreamListener(const Clock* clock, const Engine* engine)
      : clock_(clock), engine_(engine), submitted_(clock->Now()) {}
  bool OnToken(int32_t token) override {
    const Clock::Time now = clock_->Now();
    times.push_back(release_times_.Next(now, engine_->token_pace()));
    longest_held_s = std::max(longest_held_s, ToSeconds(times.back() - now));
    return RecordingListener::OnToken(token);
  }
  double first_token_s() const { return ToSeconds(times.at(0) - submitted_); }
  // Between its tokens from number `begin` on, sorted.
  std::vector<double> Gaps(size_t begin, size_t end) const {
    std::vector<double> gaps;
    for (size_t i = std::max<size_t>(begin, 1); i < end; ++i)
      gaps.push_back(ToSeconds(times[i] - times[i - 1]));
    std::sort(gaps.begin(), gaps.end());
    return gaps;
  }
  std::vector<Clock::Time> times;  // when tokens leave
  double longest_held_s = 0;

 private:
  const Clock* const clock_;
  const Engine* const engine_;
  const Clock::Time submitted_;
  ReleaseTimes release_times_;
};

double Percentile(const std::vector<double>& sorted, double p) {
  return sorted.at(static_cast<size_t>(p * static_cast<double>(sorted.size() - 1)));
}

class Simulation {
 public:
  Simulation(double itl_target_s, unsigned seed, const MachineCosts& costs = {})
      : costs_(costs),
        random_(seed),
        options_(Options(itl_target_s)),
        fake_(ExecutorOptions(options_)),
        executor_(&fake_, &clock, [this](const StepBatch& batch) { return StepSeconds(batch); }) {
    engine = *Engine::Create(options_, &executor_);
  }

  StreamListener* Submit(int64_t prompt, int64_t output) {
    Request request;
    request.prompt.assign(static_cast<size_t>(prompt), 3);
    request.max_tokens = output;
    listeners_.push_back(std::make_unique<StreamListener>(&clock, engine.get()));
    EXPECT_TRUE(engine->Submit(Copy(request), listeners_.back().get()).ok());
    return listeners_.back().get();
  }
  void Step() { ASSERT_TRUE(engine->Step().ok()); }
  void RunUntilFirstToken(const StreamListener* listener) {
    while (listener->tokens.empty() && !testing::Test::HasFatalFailure()) Step();
  }
  // Streams that decode, and whose steps were measured.
  std::vector<StreamListener*> StartStreams(int streams) {
    std::vector<StreamListener*> listeners;
    for (int i = 0; i < streams; ++i) listeners.push_back(Submit(50, 8000));
    for (int i = 0; i < 600; ++i) Step();
    return listeners;
  }

  ManualClock clock;
  std::unique_ptr<Engine> engine;

 private:
  EngineOptions Options(double itl_target_s) {
    EngineOptions options;
    options.geometry = {.block_size = 64, .kvp = 1, .groups = {{}}, .pages_per_rank = {4000}};
    options.max_context = 32768;
    options.vocab_size = 8;
    options.itl_target_s = itl_target_s;
    options.clock = &clock;
    return options;
  }
  double StepSeconds(const StepBatch& batch) {
    double decode_s = 0, prefill_s = 0;
    for (const BatchSequence& part : batch.sequences) {
      const auto position = static_cast<double>(part.first_position);
      if (part.tokens.size() == 1 && part.logits == LogitRows::kLast) {
        decode_s += costs_.decode + costs_.decode_context * position;
      } else {
        prefill_s += static_cast<double>(part.tokens.size()) * (costs_.token + costs_.prefix * position);
      }
    }
    if (decode_s == 0) prefill_s *= costs_.alone;
    const double seconds =
        costs_.step + (batch.NumLogitRows() > 0 ? costs_.logits : 0) + decode_s + prefill_s;
    return seconds * std::lognormal_distribution<double>(0, costs_.noise)(random_) +
           std::exponential_distribution<double>(1 / costs_.delay)(random_);
  }

  const MachineCosts costs_;
  std::mt19937 random_;
  const EngineOptions options_;
  FakeExecutor fake_;
  TimedExecutor executor_;
  std::vector<std::unique_ptr<StreamListener>> listeners_;
};

TEST(InteractivityTest, ALongPromptNeitherStallsStreamsNorStarves) {
  constexpr int64_t kLongPrompt = 20000, kShortPrompt = 20;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Simulation idle(kAutoItlTarget, seed);
    const StreamListener* alone = idle.Submit(kShortPrompt, 1);
    idle.RunUntilFirstToken(alone);
    const double short_alone_s = alone->first_token_s();
    alone = idle.Submit(kLongPrompt, 1);
    idle.RunUntilFirstToken(alone);

    Simulation busy(kAutoItlTarget, seed + 100);
    const std::vector<StreamListener*> streams = busy.StartStreams(4);
    const size_t before = streams[0]->times.size();
    const StreamListener* long_prompt = busy.Submit(kLongPrompt, 1);
    for (int i = 0; i < 300; ++i) busy.Step();
    ASSERT_TRUE(long_prompt->tokens.empty());
    const StreamListener* short_prompt = busy.Submit(kShortPrompt, 1);
    busy.RunUntilFirstToken(long_prompt);

    const std::vector<double> without = streams[0]->Gaps(50, before);
    const std::vector<double> with = streams[0]->Gaps(before, streams[0]->times.size());
    EXPECT_LE(Percentile(with, 0.99), 1.5 * Percentile(without, 0.99));
    EXPECT_LE(with.back(), 3 * Percentile(without, 0.99));
    EXPECT_LE(long_prompt->first_token_s(), 3 * alone->first_token_s());
    EXPECT_LE(short_prompt->first_token_s(), 5 * short_alone_s);
    EXPECT_LE(streams[0]->longest_held_s, Percentile(with, 0.5) * 1.5);
  }
}

TEST(InteractivityTest, GapsStayWithinATargetInSeconds) {
  for (const double target_s : {0.025, 0.05, 0.2}) {
    for (unsigned seed = 1; seed <= 3; ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", target " << target_s);
      Simulation busy(target_s, seed);
      const std::vector<StreamListener*> streams = busy.StartStreams(4);
      const size_t before = streams[0]->times.size();
      const StreamListener* long_prompt = busy.Submit(20000, 1);
      busy.RunUntilFirstToken(long_prompt);
      const std::vector<double> gaps = streams[0]->Gaps(before, streams[0]->times.size());
      EXPECT_LE(Percentile(gaps, 0.9), target_s);
      // And the target is used.
      EXPECT_GE(Percentile(gaps, 0.5), 0.75 * target_s);
    }
  }
}

TEST(InteractivityTest, WithoutATargetChunksAreFull) {
  Simulation busy(kNoItlTarget, 1);
  const std::vector<StreamListener*> streams = busy.StartStreams(1);
  const size_t before = streams[0]->times.size();
  const StreamListener* prompt = busy.Submit(5120, 1);
  busy.RunUntilFirstToken(prompt);
  EXPECT_EQ(streams[0]->times.size() - before, 10u);
}

// A single stream does not hold up a crowd: and half of one does not hold up the other half for long.
TEST(InteractivityTest, ACrowdIsNotLetInOneByOne) {
  std::vector<double> last_first_token_s;
  for (const double target_s : {kNoItlTarget, kAutoItlTarget}) {
    Simulation busy(target_s, 3);
    busy.StartStreams(1);
    std::vector<const StreamListener*> crowd;
    for (int i = 0; i < 30; ++i) crowd.push_back(busy.Submit(300, 100));
    double last = 0;
    for (const StreamListener* listener : crowd) {
      busy.RunUntilFirstToken(listener);
      last = std::max(last, listener->first_token_s());
    }
    last_first_token_s.push_back(last);
  }
  EXPECT_LE(last_first_token_s[1], 2.5 * last_first_token_s[0]);
}

// Short prompts that never cease leave a quarter of the prefill to a long one.
TEST(InteractivityTest, ShortPromptsDoNotStarveALongOne) {
  for (const double target_s : {kNoItlTarget, kAutoItlTarget}) {
    Simulation alone(target_s, 5);
    const StreamListener* undisturbed = alone.Submit(10000, 1);
    alone.RunUntilFirstToken(undisturbed);
    Simulation busy(target_s, 5);
    const StreamListener* long_prompt = busy.Submit(10000, 1);
    for (int step = 0; long_prompt->tokens.empty(); ++step) {
      ASSERT_LT(step, 2000);
      for (int64_t i = 0; i < 2; ++i) busy.Submit(300, 1);  // more than a step can take
      busy.Step();
    }
    EXPECT_LE(long_prompt->first_token_s(), 5 * undisturbed->first_token_s());
  }
}

}  // namespace
}  // namespace longspan
