// longspan_dispatcher_bench: what a coordinator's decisions cost, by the number of groups and of requests
// that wait.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "bench/options.h"
#include "comm/clock.h"
#include "kernels/check.h"
#include "runtime/coordinator/dispatcher.h"

namespace longspan::bench {
namespace {

struct Options {
  int groups = 200;
  int prefill_groups = 0;
  int events = 20000;
  unsigned seed = 1;
};

// Times of one kind of call.
class Times {
 public:
  void Add(double us) { us_.push_back(us); }
  void Print(const std::string& name) {
    if (us_.empty()) return;
    std::sort(us_.begin(), us_.end());
    double sum = 0;
    for (const double us : us_) sum += us;
    const auto at = [this](double share) {
      return us_[static_cast<size_t>(share * static_cast<double>(us_.size() - 1))];
    };
    std::printf("%-44s %9zu %9.1f %9.1f %9.1f %9.1f\n", name.c_str(), us_.size(),
                sum / static_cast<double>(us_.size()), at(0.5), at(0.99), us_.back());
  }

 private:
  std::vector<double> us_;
};

// A cluster whose requests end at random, and whose groups tell how far they are.
class Cluster {
 public:
  // The queue has `waiting` requests whenever as many run as fit; 0: far fewer run.
  Cluster(const Options& options, int64_t waiting, int priorities)
      : random_(options.seed),
        waiting_(waiting),
        priorities_(priorities),
        dispatcher_({.max_waiting = waiting > 0 ? waiting : 1000}) {
    for (GroupId id = 1; id <= options.groups; ++id) {
      GroupDescription group = RandomGroup();
      if (id <= options.prefill_groups) group.role = GroupRole::kPrefill;
      dispatcher_.AddGroup(id, std::move(group));
      dispatcher_.SetLoad(id, {.prefill_tokens_per_s = 2000, .decode_step_s = 0.03, .running = {}});
    }
    if (waiting_ == 0) {
      for (int i = 0; i < options.groups * 4; ++i) Submit();
    } else {
      while (dispatcher_.waiting() < waiting_) Submit();
    }
    submits_ = ends_ = loads_ = waits_ = {};
    for (int i = 0; i < options.events; ++i) {
      clock_.Advance(std::chrono::milliseconds(2));
      if (random_() % 4 == 0) {
        Wait();
      } else if (random_() % 2 == 0) {
        Load(1 + static_cast<GroupId>(random_() % static_cast<uint64_t>(options.groups)));
      }
      dispatcher_.Prefilled(running_[random_() % running_.size()].ticket);
      End();
      if (waiting_ == 0) Submit();
      while (dispatcher_.waiting() < waiting_) Submit();
    }
  }

  void Print() {
    const std::string name =
        absl::StrCat("queue=", waiting_, priorities_ > 1 ? absl::StrCat("/priorities=", priorities_) : "");
    submits_.Print(name + "/submit and decide");
    ends_.Print(name + "/end and decide");
    loads_.Print(name + "/load and decide");
    waits_.Print(name + "/expected wait");
  }

 private:
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint64_t>(most - least + 1));
  }
  GroupDescription RandomGroup() {
    GroupDescription group;
    group.geometry.block_size = 64;
    group.geometry.kvp = static_cast<int>(Between(1, 8));
    group.geometry.groups = {{}};
    if (random_() % 2 == 0) group.geometry.groups.push_back({.window = 4096, .pages_per_block = 2});
    group.geometry.pages_per_rank.assign(static_cast<size_t>(group.geometry.kvp), Between(2000, 20000));
    group.max_sequences = 64;
    group.max_context = 131072;
    group.chunk_tokens = 512;
    group.prompt_logits_chunk = 64;
    return group;
  }
  static void Time(Times& times, const std::function<void()>& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    times.Add(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }

  void Decide() {
    for (const Decision& decision : dispatcher_.Decide(clock_.Now())) {
      if (decision.kind == Decision::Kind::kStart) {
        running_.push_back({decision.ticket, decision.group});
      } else {
        std::erase_if(running_, [&](const Running& run) { return run.ticket == decision.ticket; });
      }
    }
  }
  void Submit() {
    Demand demand;
    demand.prompt_tokens = Between(1, 100) * Between(10, 1000);
    demand.max_tokens = Between(16, 1024);
    demand.priority = static_cast<int>(Between(0, priorities_ - 1));
    Time(submits_, [&] {
      LONGSPAN_CHECK(dispatcher_.Submit(demand, clock_.Now()).ok());
      Decide();
    });
  }
  void End() {
    const size_t at = random_() % running_.size();
    const TicketId ticket = running_[at].ticket;
    running_[at] = running_.back();
    running_.pop_back();
    Time(ends_, [&] {
      dispatcher_.End(ticket, 100);
      Decide();
    });
  }
  void Load(GroupId group) {
    GroupLoad load;
    load.prefill_tokens_per_s = static_cast<double>(Between(1000, 4000));
    load.decode_step_s = 0.03;
    for (const Running& run : running_) {
      if (run.group == group) load.running.push_back({run.ticket, Between(1, 50000), Between(1, 16)});
    }
    Time(loads_, [&] {
      dispatcher_.SetLoad(group, load);
      Decide();
    });
  }
  // For a prompt that there is no room for in the queue.
  void Wait() {
    if (waiting_ > 0) Time(waits_, [&] { dispatcher_.ExpectedWait(); });
  }

  struct Running {
    TicketId ticket;
    GroupId group;
  };
  std::mt19937_64 random_;
  const int64_t waiting_;
  const int priorities_;
  ManualClock clock_;
  Dispatcher dispatcher_;
  std::vector<Running> running_;
  Times submits_, ends_, loads_, waits_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Times the decisions of a coordinator, in one thread and without anything that is carried out: groups "
      "of\n"
      "1 to 8 kvp ranks, demands of up to 100K tokens, requests that end at random. In microseconds a call.");
  app.option_defaults()->always_capture_default();
  app.add_option("--groups", options.groups)->check(CLI::Range(1, 10000));
  app.add_option("--prefill-groups", options.prefill_groups, "of these, as many compute prompts for others")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--events", options.events, "requests that end, in each case")
      ->check(CLI::Range(1, 10000000));
  app.add_option("--seed", options.seed);
  if (const std::optional<int> exit_code = ParseOptions(app, argc, argv)) return *exit_code;
  if (options.prefill_groups >= options.groups) {
    std::fprintf(stderr, "--prefill-groups %d: of %d groups there must be one that is none; give fewer\n",
                 options.prefill_groups, options.groups);
    return 2;
  }
  std::printf("%-44s %9s %9s %9s %9s %9s\n", "microseconds", "calls", "mean", "median", "p99", "most");
  Cluster(options, 0, 1).Print();
  for (const int64_t waiting : {256, 5000}) {
    for (const int priorities : {1, 4}) Cluster(options, waiting, priorities).Print();
  }
  return 0;
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
