// KV that moves between groups while messages are damaged, lost, late, doubled and made up, requests are
// cancelled, and groups die: no wrong token, no hang, and no page that is lost.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <random>
#include <sstream>

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "comm/faulty_transport.h"
#include "comm/in_process_transport.h"
#include "comm/ucx_transport.h"
#include "gtest/gtest.h"
#include "tests/group/goldens.h"
#include "tests/group/running_group.h"
#include "tests/group/stale_transport.h"

namespace longspan::testing {
namespace {

const SteadyClock kClock;

// What the tests draw from: prompts of up to some blocks, and what they give alone.
struct Cases {
  std::string model = FindGolden("llama3-gqa").model_path;
  std::vector<HandoffCase> cases;
  std::vector<std::vector<int32_t>> expected;

  Cases() {
    for (uint64_t seed = 0; seed < 24; ++seed) {
      cases.push_back({.prompt = Prompt(static_cast<int64_t>(1 + seed * 37 % 150), seed),
                       .generated = seed % 5 == 4 ? 3 : 0,
                       .max_tokens = 6,
                       .seed = seed,
                       .source_shift = static_cast<int>(seed % 4),
                       .destination_shift = static_cast<int>(seed / 4 % 4)});
    }
    expected = Alone(model, cases);
  }
};

const Cases& TheCases() {
  static const Cases cases;
  return cases;
}

// Of rank after rank; each has draws of its own.
std::function<std::unique_ptr<Transport>()> Transports(const std::shared_ptr<InProcessNetwork>& network,
                                                       FaultyTransportOptions faults, double stale) {
  auto number = std::make_shared<std::atomic<uint64_t>>(faults.seed * 100);
  return [=]() mutable {
    faults.seed = ++*number;
    faults.clock = &kClock;
    std::unique_ptr<Transport> transport = CreateFaultyTransport(network->CreateTransport({}), faults);
    if (stale > 0) transport = CreateStaleTransport(std::move(transport), faults.seed, stale);
    return transport;
  };
}

RunningGroupOptions GroupOptionsOf(RankGrid grid, std::function<std::unique_ptr<Transport>()> transports) {
  RunningGroupOptions options;
  options.model = TheCases().model;
  options.grid = grid;
  options.create_transport = std::move(transports);
  options.patience = {.look_every = std::chrono::milliseconds(2),
                      .ask_after = std::chrono::milliseconds(10),
                      .most_rounds = 5,
                      .tell_again = std::chrono::milliseconds(10)};
  options.kv_bytes = uint64_t{1} << 20;  // some requests wait for the pages of others
  return options;
}

constexpr Clock::Duration kLate = std::chrono::milliseconds(4);

struct Faults {
  const char* name;
  RankGrid source, destination;
  FaultyTransportOptions at_source, at_destination;
  double stale = 0;
  bool is_hopeless = false;  // nothing arrives
};

constexpr int kKindsOfFaults = 8;

std::array<Faults, kKindsOfFaults> AllFaults() {
  const FaultyTransportOptions damage = {.flip = 0.1, .truncate = 0.05};
  const FaultyTransportOptions disorder = {
      .duplicate = 0.3, .delay = 0.2, .reorder = 0.3, .max_delay = kLate};
  const FaultyTransportOptions loss = {.fail = 0.1, .drop = 0.15};
  const FaultyTransportOptions all = {.fail = 0.05,
                                      .drop = 0.05,
                                      .duplicate = 0.1,
                                      .flip = 0.1,
                                      .truncate = 0.05,
                                      .delay = 0.1,
                                      .reorder = 0.1,
                                      .max_delay = kLate};
  return {{{"damage", {1, 2}, {2, 1}, damage, damage},
           {"disorder", {2, 1}, {1, 2}, disorder, disorder},
           {"loss", {1, 1}, {1, 2}, loss, loss},
           {"stale", {1, 2}, {1, 1}, {}, {}, /*stale=*/0.5},
           {"everything", {2, 1}, {2, 1}, all, all, /*stale=*/0.2},
           {"most is lost", {1, 1}, {1, 1}, {.drop = 0.9}, {.drop = 0.5}},
           {"all is damaged", {1, 1}, {1, 2}, {.flip = 1}, {}, /*stale=*/0, /*is_hopeless=*/true},
           {"all is lost", {1, 2}, {1, 1}, {.drop = 1}, {}, /*stale=*/0, /*is_hopeless=*/true}}};
}

// Of each of 8 kinds.
#ifdef __SANITIZE_THREAD__
constexpr int kRunsOfFaults = 12;  // a hundred times as slow
#else
constexpr int kRunsOfFaults = 125;
#endif

class TransportFaultsTest : public ::testing::TestWithParam<int> {};

TEST_P(TransportFaultsTest, TokensAreThoseOfOneProcess) {
  const Cases& all = TheCases();
  const Faults faults = AllFaults()[static_cast<size_t>(GetParam())];
  SCOPED_TRACE(faults.name);
  const auto seed = static_cast<uint64_t>(GetParam()) * 2;
  const auto network = CreateInProcessNetwork();
  FaultyTransportOptions at_source = faults.at_source, at_destination = faults.at_destination;
  at_source.seed = seed + 1;
  at_destination.seed = seed + 2;
  RunningGroup source(GroupOptionsOf(faults.source, Transports(network, at_source, faults.stale)));
  RunningGroup destination(
      GroupOptionsOf(faults.destination, Transports(network, at_destination, faults.stale)));
  std::vector<std::unique_ptr<Handoff>> handoffs;
  for (size_t i = 0; i < kRunsOfFaults; ++i) {
    const size_t which = (i + seed) % all.cases.size();
    handoffs.push_back(std::make_unique<Handoff>(source, destination, all.cases[which], all.expected[which],
                                                 Handoff::Cancellation{}));
  }
  int64_t given_up = 0, useful = 0, moved = 0;
  PieceRejectionCounts refused = {};
  for (size_t i = 0; i < handoffs.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "run " << i);
    const HandoffResult result = handoffs[i]->Wait();
    EXPECT_EQ(result.end, FinishReason::kLength);
    EXPECT_EQ(result.tokens, all.expected[(i + seed) % all.cases.size()]);
    ASSERT_TRUE(result.arrival.has_value());
    given_up += result.arrival->complete ? 0 : 1;
    AddTo(&refused, result.arrival->refused_pieces);
    useful += result.arrival->complete ? result.arrival->useful_bytes : 0;
    moved += result.arrival->moved_bytes;
  }
  source.ExpectAllFree();
  destination.ExpectAllFree();
  const EngineSnapshot snapshot = destination.snapshot();
  EXPECT_EQ(snapshot.handoffs_total, kRunsOfFaults - given_up);
  EXPECT_EQ(snapshot.handoffs_given_up_total, given_up);
  EXPECT_GE(moved, useful);
  if (faults.is_hopeless) {
    EXPECT_EQ(given_up, kRunsOfFaults);
  }
  const bool refuses = faults.at_source.flip > 0 || faults.at_source.duplicate > 0 || faults.stale > 0;
  EXPECT_EQ(refused != PieceRejectionCounts{}, refuses);
  if (faults.at_source.flip > 0) {
    EXPECT_GT(refused[static_cast<size_t>(PieceRejection::kChecksum)], 0);
  }
  if (faults.at_source.duplicate > 0) {
    EXPECT_GT(refused[static_cast<size_t>(PieceRejection::kDuplicate)], 0);
  }
  EXPECT_EQ(snapshot.handoff_refused_pieces, refused);
}

INSTANTIATE_TEST_SUITE_P(Faults, TransportFaultsTest, ::testing::Range(0, kKindsOfFaults));

// On either side, at any stage, while others go on on the same pages, and messages come late.
TEST(HandoffFaultsTest, Cancel) {
  const Cases& all = TheCases();
  const auto network = CreateInProcessNetwork();
  const FaultyTransportOptions late = {
      .drop = 0.02, .duplicate = 0.1, .delay = 0.3, .reorder = 0.3, .max_delay = kLate};
  RunningGroupOptions options = GroupOptionsOf({1, 2}, Transports(network, late, /*stale=*/0.1));
  options.kv_bytes =
      uint64_t{384} << 10;  // those of higher priority find no room, and may take none of these
  RunningGroup source(options);
  options.grid = {2, 1};
  RunningGroup destination(options);
  std::mt19937_64 random(7);
  std::array<int, kStages> ended_early{};
  for (int round = 0; round < 25; ++round) {
    SCOPED_TRACE(::testing::Message() << "round " << round);
    struct Run {
      size_t which = 0;
      Handoff::Cancellation cancellation;
      std::unique_ptr<Handoff> handoff;  // or
      std::shared_ptr<Heard> alone;
    };
    std::vector<Run> runs;
    for (int i = 0; i < 12; ++i) {
      Run run;
      run.which = random() % all.cases.size();
      const HandoffCase& handoff = all.cases[run.which];
      if (i % 4 == 3) {
        run.alone = StartAlone(random() % 2 == 0 ? source : destination, handoff);
      } else {
        run.cancellation = {static_cast<Stage>(random() % kStages), random() % 2 == 0};
        run.handoff = std::make_unique<Handoff>(source, destination, handoff, all.expected[run.which],
                                                run.cancellation);
      }
      runs.push_back(std::move(run));
    }
    const auto has_ended = [](const Run& run) {
      return run.alone != nullptr ? run.alone->ended() : run.handoff->HasEnded();
    };
    // In another order than they came in; all of them, as they wait for the pages of each other.
    std::shuffle(runs.begin(), runs.end(), random);
    while (std::count_if(runs.begin(), runs.end(), has_ended) < std::ssize(runs)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (Run& run : runs) {
      const std::vector<int32_t>& expected = all.expected[run.which];
      if (run.alone != nullptr) {
        EXPECT_EQ(run.alone->WaitForEnd(), FinishReason::kLength);
        EXPECT_EQ(run.alone->tokens(), expected);
        continue;
      }
      const HandoffResult result = run.handoff->Wait();
      if (result.end == FinishReason::kLength) {
        EXPECT_EQ(result.tokens, expected);
        continue;
      }
      EXPECT_EQ(result.end, FinishReason::kCancelled);
      EXPECT_NE(run.cancellation.stage, Stage::kNone);
      ++ended_early[static_cast<size_t>(run.cancellation.stage)];
      ASSERT_LE(result.tokens.size(), expected.size());
      EXPECT_TRUE(std::equal(result.tokens.begin(), result.tokens.end(), expected.begin()));
    }
  }
  source.ExpectAllFree();
  destination.ExpectAllFree();
  for (int stage = 1; stage < kStages; ++stage)
    EXPECT_GT(ended_early[static_cast<size_t>(stage)], 0) << stage;
}

// While it lives, what is logged goes to it.
class CapturedLog {
 public:
  CapturedLog() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
  }
  // Nobody logs any more.
  std::vector<std::string> End() {
    spdlog::set_default_logger(before_);
    return absl::StrSplit(text_.str(), '\n', absl::SkipEmpty());
  }

 private:
  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

// Over the network, as between hosts.
TEST(HandoffFaultsTest, WhatIsReplayedIsRefusedAndLoggedOnce) {
  const Cases& all = TheCases();
  CapturedLog log;
  {
    RunningGroup source(
        GroupOptionsOf({1, 1}, [] { return CreateStaleTransport(*CreateUcxTransport({}), /*seed=*/1, 1); }));
    RunningGroup destination(GroupOptionsOf({1, 1}, [] { return *CreateUcxTransport({}); }));
    for (int round = 0; round < 2; ++round) {
      for (size_t i = 1; i < 7; ++i) {
        Handoff handoff(source, destination, all.cases[i], all.expected[i], Handoff::Cancellation{});
        const HandoffResult result = handoff.Wait();
        EXPECT_EQ(result.tokens, all.expected[i]);
        EXPECT_TRUE(result.arrival->complete);
      }
      std::this_thread::sleep_for(std::chrono::seconds(2));  // what is early is kept for a while
    }
    destination.ExpectAllFree();
  }
  std::vector<std::string> lines = log.End();
  std::erase_if(lines, [](const std::string& line) { return !absl::StrContains(line, "are refused"); });
  ASSERT_EQ(lines.size(), 1u);
  std::printf("%s\n", lines[0].c_str());
}

TEST(HandoffFaultsTest, DeadlineOfKvThatNeverComes) {
  const auto network = CreateInProcessNetwork();
  RunningGroup group(GroupOptionsOf({1, 2}, Transports(network, {}, /*stale=*/0)));
  const auto heard = StartUnanswered(group, TheCases().cases[1], std::chrono::milliseconds(20));
  EXPECT_EQ(heard->WaitForEnd(), FinishReason::kDeadline);
  group.ExpectAllFree();
}

// What the source has told a token of ends well in any case; the rest is cancelled by who sees the death.
TEST(HandoffFaultsTest, SourceDies) {
  const Cases& all = TheCases();
  const auto network = CreateInProcessNetwork();
  RunningGroup destination(GroupOptionsOf({1, 2}, Transports(network, {}, /*stale=*/0)));
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const FaultyTransportOptions late = {.seed = seed, .delay = 0.5, .max_delay = 4 * kLate};
    auto source =
        std::make_unique<RunningGroup>(GroupOptionsOf({2, 1}, Transports(network, late, /*stale=*/0)));
    std::vector<std::unique_ptr<Handoff>> handoffs;
    for (size_t i = 0; i < all.cases.size(); ++i) {
      handoffs.push_back(std::make_unique<Handoff>(*source, destination, all.cases[i], all.expected[i],
                                                   Handoff::Cancellation{}));
    }
    while (!handoffs[seed]->continued()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    source.reset();
    for (size_t i = 0; i < handoffs.size(); ++i) {
      const bool continued = handoffs[i]->continued();
      if (!continued) handoffs[i]->Cancel();
      const HandoffResult result = handoffs[i]->Wait();
      EXPECT_EQ(result.end, continued ? FinishReason::kLength : FinishReason::kCancelled);
      if (continued) {
        EXPECT_EQ(result.tokens, all.expected[i]);
      }
    }
  }
  destination.ExpectAllFree();
}

TEST(HandoffFaultsTest, DestinationDies) {
  const Cases& all = TheCases();
  const auto network = CreateInProcessNetwork();
  RunningGroup source(GroupOptionsOf({2, 1}, Transports(network, {}, /*stale=*/0)));
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    auto destination =
        std::make_unique<RunningGroup>(GroupOptionsOf({1, 2}, Transports(network, {}, /*stale=*/0)));
    std::vector<std::unique_ptr<Handoff>> handoffs;
    for (size_t i = 0; i < all.cases.size(); ++i) {
      handoffs.push_back(std::make_unique<Handoff>(source, *destination, all.cases[i], all.expected[i],
                                                   Handoff::Cancellation{}));
    }
    while (!handoffs[seed]->continued()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    destination.reset();
    const std::shared_ptr<Heard> alone = StartAlone(source, all.cases[seed]);
    for (const auto& handoff : handoffs) {
      const FinishReason end = handoff->Wait().end;
      EXPECT_TRUE(end == FinishReason::kLength || end == FinishReason::kCancelled);
    }
    EXPECT_EQ(alone->WaitForEnd(), FinishReason::kLength);
    EXPECT_EQ(alone->tokens(), all.expected[seed]);
    source.ExpectAllFree();
  }
}

}  // namespace
}  // namespace longspan::testing
