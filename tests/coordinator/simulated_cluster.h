// A dispatcher, and groups that do what it says: prompts one after the other, outputs side by side, at rates
// of their own; prompts of prefill groups arrive after a while, or not at all. An account of what every rank
// was promised, kept apart from the dispatcher's, is compared with it after every event.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/clock.h"
#include "runtime/coordinator/decision_log.h"

namespace longspan {

// Programs with sanitizers are several times as slow: they simulate less.
#ifdef LONGSPAN_SIMULATE_LESS
inline constexpr bool kSimulateLess = true;
#else
inline constexpr bool kSimulateLess = false;
#endif

class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}
  int64_t Below(int64_t bound) { return static_cast<int64_t>(generator_() % static_cast<uint64_t>(bound)); }
  int64_t Between(int64_t least, int64_t most) { return least + Below(most - least + 1); }
  bool OneIn(int64_t n) { return Below(n) == 0; }
  // Of the same chance at every order of magnitude.
  double Log(double least, double most);
  // Until the next of events that come at random, at this rate.
  double Gap(double per_s);

 private:
  double Unit() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }
  std::mt19937_64 generator_;
};

class SimulatedCluster {
 public:
  struct Speed {
    double prefill_tokens_per_s = 0, decode_step_s = 0;
    double told = 1;  // times the rates that it tells
  };
  struct Request {
    Demand demand;
    int64_t output_tokens = 0;  // that it comes to
    int64_t done_tokens = 0;
    int64_t told_tokens = 0;  // of output
    int64_t runs = 0;
    GroupId group = 0;          // 0: it waits
    GroupId prefill_group = 0;  // 0: its prompt has arrived, or is computed on `group`
    Clock::Time submitted, started;
  };
  struct Group {
    GroupDescription description;
    Speed speed;
    bool draining = false;
    int64_t plan = 0;  // of its runs, from 1: a new one for each that comes or goes
    struct Run {
      enum class Prompt { kHere, kElsewhere, kHandedOff };
      Prompt prompt = Prompt::kHere;
      double prompt_tokens = 0, computed_tokens = 0;  // computed when the plan was made
      int64_t output_tokens = 0;
      Clock::Time prefill_begin, prefill_end;
      int64_t told_prompt_tokens = 0;  // with the output that was told when it began
      int64_t told_tokens = 0;         // computed
      std::vector<int64_t> pages;
    };
    std::map<TicketId, Run> runs;
  };

  SimulatedCluster(DispatcherOptions options, unsigned seed);

  // `event` happens then; what the dispatcher decides on it is carried out.
  void At(Clock::Time time, std::function<void()> event);
  void In(double seconds, std::function<void()> event) { At(now() + FromSeconds(seconds), std::move(event)); }
  // Until nothing is left to happen, or `until`. Groups tell how they fare while a request is open.
  void Run(Clock::Time until = Clock::Time::max());

  GroupId Join(GroupDescription description, Speed speed);
  void Lose(GroupId group);
  void Drain(GroupId group);
  absl::StatusOr<TicketId> Submit(const Demand& demand, int64_t output_tokens);
  void Cancel(TicketId ticket);
  // Of so many runs one is refused.
  void RefuseOneIn(int64_t runs) { refuse_one_in_ = runs; }

  Clock::Time now() const { return clock_.Now(); }
  Random& random() { return random_; }
  const std::map<GroupId, Group>& groups() const { return groups_; }
  const std::map<TicketId, Request>& requests() const { return requests_; }
  const Dispatcher& dispatcher() const { return *dispatcher_; }
  const std::string& log() const { return log_; }
  // Of decisions carried out, by kind, and "end".
  const std::map<std::string, int64_t, std::less<>>& counts() const { return counts_; }

  std::function<void(TicketId)> on_start, on_end;  // after it has started; before it is forgotten

 private:
  void Decide();
  void Start(const Decision& decision);
  void HandOff(TicketId ticket, GroupId prefill_group);
  void Arrive(TicketId ticket, bool is_failure);
  void Stop(TicketId ticket);
  void Forget(TicketId ticket);
  void Plan(GroupId group);
  void Tell(GroupId group);
  void Check() const;
  static double ComputedTokens(const Group::Run& run, Clock::Time now);
  static int64_t OutputTokens(const Group& group, const Group::Run& run, Clock::Time now);

  Random random_;
  ManualClock clock_;
  std::string log_;
  LoggedDispatcher dispatcher_;
  std::multimap<Clock::Time, std::function<void()>> events_;
  std::map<GroupId, Group> groups_;
  std::map<TicketId, Request> requests_;
  GroupId next_group_ = 1;
  int64_t refuse_one_in_ = 0;
  std::map<std::string, int64_t, std::less<>> counts_;
};

}  // namespace longspan
