// A group of processes under mpirun computes, bit for bit, what one rank computes.
#include <gtest/gtest.h>

#include <cstring>

#include "comm/clock.h"
#include "comm/job_connections.h"
#include "comm/mpi_environment.h"
#include "tests/group/goldens.h"
#include "tests/group/local_group.h"

namespace longspan::testing {
namespace {

TEST(MpiGroupTest, EqualsOneRank) {
  const std::unique_ptr<MpiEnvironment> environment = *MpiEnvironment::Create();
  const SteadyClock clock;
  for (const char* name : {"llama3-gqa", "gemma3-dual", "gguf-llama-q4_k"}) {
    const Golden golden = FindGolden(name);
    const std::unique_ptr<ModelSource> source = *ModelSource::Open(golden.model_path);
    Request request;
    request.prompt = golden.Tokens();
    request.prompt.resize(100);
    request.max_tokens = 10;
    request.ignore_eos = true;
    LocalGroupOptions options;
    options.block_size = 16;
    options.activation = ActivationDType::kAuto;
    const Generated expected = RunLocalGroup(golden.model_path, {&request, 1}, options).results[0];
    for (int tp : {1, 2, 4}) {
      if (environment->size() % tp != 0) continue;
      options.tp = tp;
      options.kvp = environment->size() / tp;
      JobConnections job = *ConnectJob(*environment, clock);
      const GroupRun run =
          RunRank(*source, *job.bootstrap, std::move(job.communicator), {&request, 1}, options);
      if (environment->rank() != 0) continue;
      const Generated& actual = run.results[0];
      EXPECT_EQ(actual.tokens, expected.tokens) << name << " tp " << tp;
      ASSERT_EQ(actual.logits.size(), expected.logits.size());
      EXPECT_EQ(
          std::memcmp(actual.logits.data(), expected.logits.data(), actual.logits.size() * sizeof(float)), 0)
          << name << " tp " << tp;
    }
  }
}

}  // namespace
}  // namespace longspan::testing
