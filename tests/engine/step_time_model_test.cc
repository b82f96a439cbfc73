#include "runtime/engine/step_time_model.h"

#include <random>

#include "gtest/gtest.h"

namespace longspan {
namespace {

// A machine whose steps take what the model assumes, give or take.
struct Machine {
  double base = 0.008, decode = 0.0015, context = 1e-7, token = 0.0005, prefix = 3e-8;
  double noise = 0.05;
  std::mt19937 random{7};

  double Exact(const StepWork& work) const {
    return base + decode * static_cast<double>(work.decodes) +
           context * static_cast<double>(work.decode_context) +
           token * static_cast<double>(work.prefill_tokens) +
           prefix * static_cast<double>(work.prefill_prefix);
  }
  double Run(const StepWork& work) {
    return Exact(work) * std::lognormal_distribution<double>(0, noise)(random);
  }
};

StepWork Mixed(int64_t decodes, int64_t tokens, int64_t prefix) {
  return {decodes, decodes * 500, tokens, tokens * prefix};
}

TEST(StepTimeModelTest, LearnsWhatStepsCost) {
  Machine machine;
  StepTimeModel model;
  EXPECT_FALSE(model.has_observations());
  EXPECT_EQ(model.TokenSeconds(0), 0);
  for (int64_t i = 0; i < 600; ++i) {
    const StepWork work = Mixed(1 + i % 7, i % 3 == 0 ? 0 : 10 + i % 60, i * 30 % 20000);
    model.Observe(work, machine.Run(work));
  }
  for (const int64_t prefix : {0, 10000, 20000}) {
    const StepWork work = Mixed(4, 16, prefix);
    const StepWork alone = Mixed(4, 0, 0);
    EXPECT_NEAR(model.DecodeSeconds(work), machine.Exact(alone), 0.1 * machine.Exact(alone)) << prefix;
    const double added = machine.Exact(work) - machine.Exact(alone);
    EXPECT_NEAR(model.PrefillSeconds(work), added, 0.2 * added) << prefix;
    EXPECT_NEAR(16 * model.TokenSeconds(prefix), model.PrefillSeconds(work), 1e-9);
  }
}

TEST(StepTimeModelTest, FollowsAMachineThatSlowsDown) {
  Machine machine;
  StepTimeModel model;
  for (int64_t i = 0; i < 300; ++i) {
    const StepWork work = Mixed(4, i % 2 == 0 ? 0 : 16, 1000);
    model.Observe(work, machine.Run(work));
  }
  for (int64_t i = 0; i < 60; ++i) {
    const StepWork work = Mixed(4, i % 2 == 0 ? 0 : 16, 1000);
    model.Observe(work, 2 * machine.Run(work));
  }
  const double alone = 2 * machine.Exact(Mixed(4, 0, 0));
  EXPECT_NEAR(model.DecodeSeconds(Mixed(4, 0, 0)), alone, 0.2 * alone);
}

TEST(StepTimeModelTest, AStepThatWasHeldUpTeachesLittle) {
  Machine machine;
  machine.noise = 0;
  StepTimeModel model;
  for (int i = 0; i < 100; ++i) model.Observe(Mixed(4, 16, 0), machine.Run(Mixed(4, 16, 0)));
  model.Observe(Mixed(4, 16, 0), 3);
  const double exact = machine.Exact(Mixed(4, 16, 0));
  const double predicted = model.DecodeSeconds(Mixed(4, 16, 0)) + model.PrefillSeconds(Mixed(4, 16, 0));
  EXPECT_NEAR(predicted, exact, 0.05 * exact);
}

}  // namespace
}  // namespace longspan
