// 200 groups of random layouts, which come, drain and die, and requests that end, are cancelled, refused,
// late and preempted: every promise is kept at every event, everybody ends, and a seed means a log.
#include <set>
#include <sstream>

#include "gtest/gtest.h"
#include "tests/coordinator/simulated_cluster.h"

namespace longspan {
namespace {

GroupDescription RandomGroup(Random& random) {
  GroupDescription group;
  group.role = random.OneIn(20)   ? GroupRole::kPrefill
               : random.OneIn(10) ? GroupRole::kDecode
                                  : GroupRole::kMixed;
  group.geometry.block_size = random.OneIn(2) ? 64 : 32;
  group.geometry.kvp = static_cast<int>(random.Between(1, 8));
  const int64_t layer_groups = random.Between(1, 2);
  for (int64_t g = 0; g < layer_groups; ++g) {
    group.geometry.groups.push_back({.window = random.OneIn(2) ? 0 : random.Between(500, 5000),
                                     .pages_per_block = static_cast<int>(random.Between(1, 3))});
  }
  for (int k = 0; k < group.geometry.kvp; ++k) {
    group.geometry.pages_per_rank.push_back(static_cast<int64_t>(random.Log(100, 2000)));
  }
  group.max_sequences = random.Between(1, 12);
  group.max_context = random.Between(20'000, 131'072);
  group.chunk_tokens = 512;
  group.prompt_logits_chunk = 64;
  return group;
}

// What comes of `requests` requests from this seed, as the log has it.
class Simulation {
 public:
  Simulation(unsigned seed, int64_t requests)
      : cluster_({.max_waiting = 100, .homeless_timeout = std::chrono::seconds(5)}, seed), left_(requests) {
    for (int i = 0; i < 200; ++i) Join();
    cluster_.RefuseOneIn(100);
    cluster_.on_start = [this](TicketId ticket) { EXPECT_TRUE(open_.contains(ticket)); };
    cluster_.on_end = [this](TicketId ticket) { EXPECT_EQ(open_.erase(ticket), 1u) << ticket; };
    Arrive();
    Die();
    cluster_.Run();
    EXPECT_TRUE(open_.empty()) << open_.size() << " requests never end";
    EXPECT_TRUE(cluster_.requests().empty());
    EXPECT_EQ(cluster_.dispatcher().waiting(), 0);
    for (const auto& [id, group] : cluster_.groups()) {
      for (size_t k = 0; k < group.description.geometry.pages_per_rank.size(); ++k) {
        EXPECT_EQ(cluster_.dispatcher().group(id).store.reserved(static_cast<int>(k)), 0);
      }
    }
  }

  const SimulatedCluster& cluster() const { return cluster_; }
  int64_t refused(absl::StatusCode code) const {
    const auto it = refused_.find(code);
    return it == refused_.end() ? 0 : it->second;
  }

 private:
  void Join() {
    Random& random = cluster_.random();
    cluster_.Join(RandomGroup(random), {.prefill_tokens_per_s = random.Log(5000, 50'000),
                                        .decode_step_s = random.Log(0.005, 0.02),
                                        .told = random.Log(0.7, 1.4)});
  }

  void Arrive() {
    Random& random = cluster_.random();
    if (left_-- == 0) return;
    Demand demand;
    demand.prompt_tokens = static_cast<int64_t>(random.Log(100, 60'000));
    demand.max_tokens = static_cast<int64_t>(random.Log(1, 600));
    demand.prompt_logits = random.OneIn(20);
    demand.priority = random.OneIn(5) ? static_cast<int>(random.Between(-2, 3)) : 0;
    if (random.OneIn(10)) demand.deadline = cluster_.now() + FromSeconds(random.Log(0.5, 30));
    const int64_t output_tokens = random.OneIn(2) ? demand.max_tokens : random.Between(0, demand.max_tokens);
    const absl::StatusOr<TicketId> ticket = cluster_.Submit(demand, output_tokens);
    if (ticket.ok()) {
      EXPECT_TRUE(open_.insert(*ticket).second);
      if (random.OneIn(20)) cluster_.In(random.Log(0.1, 20), [this, id = *ticket] { cluster_.Cancel(id); });
    } else {
      ++refused_[ticket.status().code()];
    }
    cluster_.In(random.Gap(400), [this] { Arrive(); });
  }

  // As many join as go.
  void Die() {
    Random& random = cluster_.random();
    if (left_ < 0) return;
    const auto group =
        std::next(cluster_.groups().begin(), random.Below(static_cast<int64_t>(cluster_.groups().size())));
    if (random.OneIn(4)) {
      cluster_.Drain(group->first);
      cluster_.In(random.Log(1, 10), [this, id = group->first] {
        if (cluster_.groups().contains(id)) cluster_.Lose(id);
      });
    } else {
      cluster_.Lose(group->first);
    }
    cluster_.In(random.Log(0.1, 3), [this] { Join(); });
    cluster_.In(random.Gap(8), [this] { Die(); });
  }

  SimulatedCluster cluster_;
  int64_t left_;
  std::set<TicketId> open_;
  std::map<absl::StatusCode, int64_t> refused_;
};

TEST(DispatcherSimulationTest, EveryPromiseIsKeptWhateverHappens) {
  const Simulation simulation(/*seed=*/1, kSimulateLess ? 2000 : 10'000);
  std::ostringstream summary;
  for (const auto& [what, count] : simulation.cluster().counts()) summary << what << " " << count << ", ";
  summary << "full " << simulation.refused(absl::StatusCode::kResourceExhausted) << ", too large "
          << simulation.refused(absl::StatusCode::kInvalidArgument) << ", "
          << ToSeconds(simulation.cluster().now().time_since_epoch()) << " s";
  std::printf("%s\n", summary.str().c_str());
  if (kSimulateLess) return;
  // It is no test of what does not happen.
  for (const char* what : {"start", "preempt", "expire", "fail", "end"}) {
    EXPECT_GT(simulation.cluster().counts().contains(what), 0) << what;
  }
  EXPECT_GT(simulation.refused(absl::StatusCode::kResourceExhausted), 0);
}

TEST(DispatcherSimulationTest, ASeedMeansALogAndALogItsDecisions) {
  const Simulation first(/*seed=*/2, 500), again(2, 500), other(3, 500);
  EXPECT_TRUE(first.cluster().log() == again.cluster().log());
  EXPECT_FALSE(first.cluster().log() == other.cluster().log());
  std::istringstream log(first.cluster().log());
  EXPECT_EQ(Replay(log), absl::OkStatus());
}

}  // namespace
}  // namespace longspan
