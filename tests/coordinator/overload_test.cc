// Ten times what groups of unequal size can hold, at once: how long large requests wait, and whether those
// that are refused are told the truth.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "gtest/gtest.h"
#include "tests/coordinator/simulated_cluster.h"

namespace longspan {
namespace {

constexpr int64_t kLarge = 50'000;  // tokens

GroupDescription GroupOf(int64_t tokens, int kvp) {
  GroupDescription group;
  group.geometry = {.block_size = 64, .kvp = kvp, .groups = {{}}, .pages_per_rank = {}};
  group.geometry.pages_per_rank.assign(static_cast<size_t>(kvp), tokens / 64 / kvp);
  group.max_sequences = 16;
  group.max_context = 131'072;
  group.chunk_tokens = 512;
  group.prompt_logits_chunk = 64;
  return group;
}

struct Outcome {
  std::vector<double> late_s;  // of large requests, after the last of those that ran when they came had ended
  std::vector<std::pair<double, double>> waits;  // until the queue had room: told, and true
};

// Requests come for 20 s; one that is refused comes again when it was told to.
class Overload {
 public:
  Overload(unsigned seed, bool random_ends) : cluster_({.max_waiting = 32}, seed), random_ends_(random_ends) {
    int64_t capacity = 0;
    for (const auto& [tokens, kvp] : {std::pair(60'000, 1), {120'000, 2}, {240'000, 4}, {480'000, 8}}) {
      cluster_.Join(GroupOf(tokens, kvp), {.prefill_tokens_per_s = 800.0 * kvp,
                                           .decode_step_s = 0.02,
                                           .told = cluster_.random().Log(0.9, 1.1)});
      capacity += tokens;
    }
    cluster_.on_start = [this](TicketId ticket) { OnStart(ticket); };
    cluster_.on_end = [this](TicketId ticket) { OnEnd(ticket); };
    for (int64_t demanded = 0; demanded < 10 * capacity;) {
      Demand demand;
      demand.max_tokens = cluster_.random().Between(16, 512);
      const auto total = static_cast<int64_t>(cluster_.random().Log(1'000, 100'000));
      demand.prompt_tokens = total - demand.max_tokens;
      demanded += total;
      cluster_.In(static_cast<double>(cluster_.random().Below(20'000)) / 1000,
                  [this, demand] { Ask(demand); });
      ++asked_;
    }
    cluster_.Run();
    EXPECT_EQ(ended_, asked_);
    EXPECT_EQ(cluster_.dispatcher().waiting(), 0);
  }

  const Outcome& outcome() const { return outcome_; }

 private:
  void Ask(const Demand& demand) {
    const int64_t output_tokens =
        random_ends_ ? cluster_.random().Between(1, demand.max_tokens) : demand.max_tokens;
    const absl::StatusOr<TicketId> ticket = cluster_.Submit(demand, output_tokens);
    if (!ticket.ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(ticket.status())) << ticket.status();
      const double wait_s = cluster_.dispatcher().ExpectedWait(demand.prompt_tokens);
      refused_.emplace_back(cluster_.now(), wait_s);
      cluster_.In(std::max(1.0, std::ceil(wait_s)), [this, demand] { Ask(demand); });
      return;
    }
    if (demand.total_tokens() < kLarge) return;
    Large& large = large_[*ticket];
    large.clear_at = cluster_.now();
    for (const auto& [id, request] : cluster_.requests()) {
      if (request.group != 0) large.running.insert(id);
    }
  }

  void OnStart(TicketId ticket) {
    // The queue has room from now on: nobody else could have come in before.
    for (const auto& [at, told_s] : refused_) {
      outcome_.waits.emplace_back(told_s, ToSeconds(cluster_.now() - at));
    }
    refused_.clear();
    const auto it = large_.find(ticket);
    if (it == large_.end()) return;
    const Large& large = it->second;
    outcome_.late_s.push_back(large.running.empty() ? ToSeconds(cluster_.now() - large.clear_at) : 0);
    large_.erase(it);
  }

  void OnEnd(TicketId ticket) {
    ++ended_;
    for (auto& [id, large] : large_) {
      if (large.running.erase(ticket) > 0) large.clear_at = cluster_.now();
    }
  }

  struct Large {
    std::set<TicketId> running;  // when it came
    Clock::Time clear_at;        // when they had ended
  };
  SimulatedCluster cluster_;
  const bool random_ends_;
  int64_t asked_ = 0, ended_ = 0;
  std::map<TicketId, Large> large_;
  std::vector<std::pair<Clock::Time, double>> refused_;
  Outcome outcome_;
};

// In whole seconds, at least one, as Retry-After has it.
bool IsRightWithinTwo(double told_s, double true_s) {
  const double header_s = std::max(1.0, std::ceil(told_s));
  return header_s <= 2 * std::max(1.0, std::ceil(true_s)) && std::ceil(true_s) <= 2 * header_s;
}

void Measure(bool random_ends, double right_share) {
  Outcome all;
  for (unsigned seed = 1; seed <= (kSimulateLess ? 1 : 3); ++seed) {
    const Overload overload(seed, random_ends);
    const Outcome& outcome = overload.outcome();
    all.late_s.insert(all.late_s.end(), outcome.late_s.begin(), outcome.late_s.end());
    all.waits.insert(all.waits.end(), outcome.waits.begin(), outcome.waits.end());
  }
  int64_t right = 0;
  std::vector<double> ratios;
  for (const auto& [told_s, true_s] : all.waits) {
    right += IsRightWithinTwo(told_s, true_s) ? 1 : 0;
    ratios.push_back(std::max(1.0, std::ceil(told_s)) / std::max(1.0, std::ceil(true_s)));
  }
  std::sort(ratios.begin(), ratios.end());
  const auto at = [&](double share) {
    return ratios[static_cast<size_t>(share * static_cast<double>(ratios.size() - 1))];
  };
  const double most_late_s = *std::max_element(all.late_s.begin(), all.late_s.end());
  const double right_found = static_cast<double>(right) / static_cast<double>(all.waits.size());
  std::printf("%zu large ones, at most %.1f s after those that ran when they came\n", all.late_s.size(),
              most_late_s);
  std::printf(
      "%zu refused: %.1f %% told the truth within a factor of two; told/true 5 %% %.2f, median %.2f, 95 %% "
      "%.2f\n",
      all.waits.size(), 100 * right_found, at(0.05), at(0.5), at(0.95));
  ASSERT_GT(all.late_s.size(), 30u);
  ASSERT_GT(all.waits.size(), 100u);
  EXPECT_LE(most_late_s, 10);
  EXPECT_GE(right_found, right_share);
  EXPECT_GE(at(0.5), 0.5);
  EXPECT_LE(at(0.5), 2);
}

// Large requests, one at a time, among small ones of which there are always some that would fit.
TEST(OverloadTest, LargeOnesStartAmongSmallOnes) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    SimulatedCluster cluster({.max_waiting = 32}, seed);
    for (const auto& [tokens, kvp] : {std::pair(60'000, 1), {120'000, 2}}) {
      cluster.Join(GroupOf(tokens, kvp),
                   {.prefill_tokens_per_s = 20'000, .decode_step_s = 0.02, .told = 1.5});
    }
    std::optional<TicketId> large;
    std::set<TicketId> running;  // when it came
    Clock::Time clear_at;
    int started = 0;
    double most_late_s = 0;
    cluster.on_start = [&](TicketId ticket) {
      if (ticket != large) return;
      most_late_s = std::max(most_late_s, running.empty() ? ToSeconds(cluster.now() - clear_at) : 0);
      ++started;
      large.reset();
    };
    cluster.on_end = [&](TicketId ticket) {
      if (running.erase(ticket) > 0) clear_at = cluster.now();
    };
    const std::function<void()> small = [&] {
      Demand demand;
      demand.prompt_tokens = cluster.random().Between(1'000, 8'000);
      demand.max_tokens = cluster.random().Between(16, 400);
      cluster.Submit(demand, demand.max_tokens).IgnoreError();
      if (started < 20 && cluster.now() < Clock::Time(std::chrono::minutes(10))) cluster.In(0.05, small);
    };
    const std::function<void()> next_large = [&] {
      if (started == 20 || cluster.now() > Clock::Time(std::chrono::minutes(10))) return;
      if (!large) {
        Demand demand;
        demand.prompt_tokens = cluster.random().Between(80'000, 100'000);
        demand.max_tokens = 100;
        const absl::StatusOr<TicketId> ticket = cluster.Submit(demand, 100);
        if (ticket.ok()) {
          large = *ticket;
          running.clear();
          for (const auto& [id, request] : cluster.requests()) {
            if (request.group != 0) running.insert(id);
          }
          clear_at = cluster.now();
        }
      }
      cluster.In(0.3, next_large);
    };
    small();
    next_large();
    cluster.Run();
    std::printf("%d large ones, at most %.1f s after those that ran when they came\n", started, most_late_s);
    EXPECT_EQ(started, 20);
    EXPECT_LE(most_late_s, 10);
  }
}

TEST(OverloadTest, WhenOutputsAreAsLongAsTheyMayBe) { Measure(/*random_ends=*/false, 0.9); }
TEST(OverloadTest, WhenOutputsEndAnywhere) { Measure(/*random_ends=*/true, 0.8); }

}  // namespace
}  // namespace longspan
