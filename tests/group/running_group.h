// Groups that stay at work, whose ranks are threads, and requests whose KV moves from one to another. For
// tests.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/clock.h"
#include "comm/transport.h"
#include "kvstore/shard_map.h"
#include "runtime/coordinator/local_group.h"
#include "runtime/engine/engine_loop.h"
#include "runtime/engine/group.h"

namespace longspan::testing {

struct RunningGroupOptions {
  std::string model;
  RankGrid grid;
  std::function<std::unique_ptr<Transport>()> create_transport;  // called by each rank
  HandoffPatience patience;
  uint64_t kv_bytes = uint64_t{16} << 20;  // of all ranks together
};

// At work until it is destroyed, which is as sudden as the death of its processes to other groups.
class RunningGroup {
 public:
  // What reaches it from elsewhere, and may come when it is gone.
  class Door {
   public:
    void Start(RunId run, Request request, std::shared_ptr<ResponseListener> listener);
    void Continue(RunId run, int32_t token);
    void Cancel(RunId run);

   private:
    friend class RunningGroup;
    std::mutex mutex_;
    LocalGroup* link_ = nullptr;  // null: gone
  };

  explicit RunningGroup(RunningGroupOptions options);
  ~RunningGroup();

  RankGrid grid() const { return options_.grid; }
  const std::shared_ptr<Door>& door() const { return door_; }
  const std::vector<std::string>& addresses() const { return addresses_; }
  EngineSnapshot snapshot() const { return *loop_->snapshot(); }
  // Fails the test unless it comes to hold no page once all requests have ended.
  void ExpectAllFree() const;

 private:
  void RunRank(Bootstrap& bootstrap, std::unique_ptr<Communicator> communicator);

  const RunningGroupOptions options_;
  const std::unique_ptr<ModelSource> source_;
  const SteadyClock clock_;
  const std::shared_ptr<Door> door_ = std::make_shared<Door>();
  std::vector<std::thread> ranks_;

  std::mutex mutex_;
  std::condition_variable changed_;
  EngineLoop* loop_ = nullptr;
  std::vector<std::string> addresses_;
};

// What is heard of one run.
class Heard final : public ResponseListener {
 public:
  std::function<void()> on_start, on_ready, on_arrived;
  std::function<void(int32_t token)> on_token;

  void OnStart() override;
  bool OnToken(const GeneratedToken& token) override;
  void OnReadyForKv() override;
  void OnKvArrived(const KvArrival& arrival) override;
  void OnFinish(FinishReason reason) override;
  void OnError(const absl::Status& error) override;

  FinishReason WaitForEnd();
  bool ended();
  std::vector<int32_t> tokens();
  std::optional<KvArrival> arrival();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> tokens_;
  std::optional<KvArrival> arrival_;
  std::optional<FinishReason> end_;
};

// A prompt of random tokens.
std::vector<int32_t> Prompt(int64_t length, uint64_t seed);

struct HandoffCase {
  std::vector<int32_t> prompt;
  int64_t generated = 0;  // tokens that were generated elsewhere before, of those it gives alone
  int64_t max_tokens = 24;
  uint64_t seed = 0;  // even: the likeliest tokens; odd: drawn
  int source_shift = 0, destination_shift = 0;
};

// What each of them generates on one rank; `generated` is looked at by Handoff alone.
std::vector<std::vector<int32_t>> Alone(const std::string& model, std::span<const HandoffCase> cases);
// The same request on this group, without another, and before all others.
std::shared_ptr<Heard> StartAlone(RunningGroup& group, const HandoffCase& handoff);
// The same, to receive KV that nobody sends.
std::shared_ptr<Heard> StartUnanswered(RunningGroup& group, const HandoffCase& handoff,
                                       Clock::Duration timeout);
// Of its KV that moves.
int64_t PlannedBytes(const std::string& model, const HandoffCase& handoff);

// How far a request has come.
enum class Stage : uint8_t { kNone, kBegins, kReady, kSourceStarts, kToken, kContinued, kArrived, kGoesOn };
inline constexpr int kStages = 8;

struct HandoffResult {
  std::vector<int32_t> tokens;  // all of its output
  FinishReason end = FinishReason::kError;
  std::optional<KvArrival> arrival;
};

// One request: prompt at the source, the rest at the destination.
class Handoff {
 public:
  struct Cancellation {
    Stage stage = Stage::kNone;
    bool source_first = false;  // the other side is cancelled some time later
  };

  // alone: what it gives without a handoff.
  Handoff(RunningGroup& source, RunningGroup& destination, const HandoffCase& handoff,
          const std::vector<int32_t>& alone, const Cancellation& cancellation);

  void Cancel();
  // The destination can end without the source.
  bool continued() const;
  // On both sides. Cancels the other side of what was cancelled on one.
  bool HasEnded();
  HandoffResult Wait();

 private:
  struct State;
  const std::shared_ptr<State> state_;
  std::vector<int32_t> generated_;
};

}  // namespace longspan::testing
