// KV of requests moves from one group to another, of any layout, while the prompt is still computed; what
// comes out is what one process computes.
#include "comm/in_process_transport.h"
#include "gtest/gtest.h"
#include "tests/group/goldens.h"
#include "tests/group/running_group.h"

namespace longspan::testing {
namespace {

using Grids = std::pair<RankGrid, RankGrid>;

// Every case in every pair of layouts; whatever moves is needed, and moves once.
void ExpectAsAlone(const std::string& golden, const std::vector<HandoffCase>& cases,
                   const std::vector<Grids>& layouts) {
  SCOPED_TRACE(golden);
  const std::string model = FindGolden(golden).model_path;
  const std::vector<std::vector<int32_t>> expected = Alone(model, cases);
  const auto network = CreateInProcessNetwork();
  for (const auto& [source_grid, destination_grid] : layouts) {
    SCOPED_TRACE(::testing::Message() << source_grid.tp << "x" << source_grid.kvp << " to "
                                      << destination_grid.tp << "x" << destination_grid.kvp);
    RunningGroupOptions options;
    options.model = model;
    options.create_transport = [network] { return network->CreateTransport({}); };
    // So that on a slow machine nothing is sent twice.
    options.patience.ask_after = std::chrono::seconds(60);
    options.grid = source_grid;
    RunningGroup source(options);
    options.grid = destination_grid;
    RunningGroup destination(options);
    std::vector<std::unique_ptr<Handoff>> handoffs;
    for (size_t i = 0; i < cases.size(); ++i) {
      handoffs.push_back(
          std::make_unique<Handoff>(source, destination, cases[i], expected[i], Handoff::Cancellation{}));
    }
    for (size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "case " << i);
      const HandoffResult result = handoffs[i]->Wait();
      EXPECT_EQ(result.end, FinishReason::kLength);
      EXPECT_EQ(result.tokens, expected[i]);
      ASSERT_TRUE(result.arrival.has_value());
      EXPECT_TRUE(result.arrival->complete);
      EXPECT_EQ(result.arrival->useful_bytes, PlannedBytes(model, cases[i]));
      EXPECT_EQ(result.arrival->moved_bytes, result.arrival->useful_bytes);
      EXPECT_EQ(result.arrival->refused_pieces, PieceRejectionCounts{});
    }
    source.ExpectAllFree();
    destination.ExpectAllFree();
  }
}

TEST(HandoffTest, AnyLayoutToAnyOther) {
  ExpectAsAlone("llama3-gqa",
                {{.prompt = Prompt(200, 1), .seed = 0, .source_shift = 1, .destination_shift = 2},
                 {.prompt = Prompt(64, 2), .seed = 1},
                 {.prompt = Prompt(1, 3), .seed = 2},
                 {.prompt = Prompt(97, 4), .seed = 3, .destination_shift = 3}},
                {{{4, 1}, {1, 4}}, {{4, 1}, {2, 2}}, {{1, 4}, {2, 1}}, {{1, 1}, {1, 2}}, {{1, 2}, {1, 1}}});
}

// Windows of 48 tokens, which the prompts are within, at and beyond.
TEST(HandoffTest, SlidingWindows) {
  const std::vector<HandoffCase> cases = {
      {.prompt = Prompt(20, 1), .seed = 0, .source_shift = 1},
      {.prompt = Prompt(48, 2), .seed = 1, .destination_shift = 3},
      {.prompt = Prompt(49, 3), .seed = 2},
      {.prompt = Prompt(64, 4), .seed = 3, .source_shift = 1, .destination_shift = 1},
      {.prompt = Prompt(300, 5), .max_tokens = 40, .seed = 4, .destination_shift = 2}};
  ExpectAsAlone("mistral-swa", cases, {{{1, 1}, {1, 4}}, {{2, 1}, {1, 2}}});
  ExpectAsAlone("gemma2-softcap", cases, {{{1, 2}, {2, 2}}});
  ExpectAsAlone("gemma3-dual", cases, {{{1, 1}, {1, 4}}, {{2, 2}, {1, 2}}});
}

// A request that has generated some tokens in a group that is gone.
TEST(HandoffTest, GoesOnAfterTokensThatWereGenerated) {
  const std::vector<HandoffCase> cases = {
      {.prompt = Prompt(60, 1), .generated = 7, .seed = 0, .source_shift = 1},
      {.prompt = Prompt(64, 2), .generated = 16, .seed = 1, .destination_shift = 3},
      {.prompt = Prompt(1, 3), .generated = 1, .seed = 2},
      {.prompt = Prompt(150, 4), .generated = 22, .seed = 3, .source_shift = 1}};
  ExpectAsAlone("llama3-gqa", cases, {{{4, 1}, {1, 4}}, {{1, 2}, {1, 1}}});
  ExpectAsAlone("gemma3-dual", cases, {{{2, 1}, {1, 2}}});
}

}  // namespace
}  // namespace longspan::testing
