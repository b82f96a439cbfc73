// What a rank is doing, told by the thread that does it, so that others can say where it hangs.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace longspan {

enum class Phase : uint32_t {
  kFree,     // waits for work or for people, for as long as it takes
  kLoading,  // no operation may take for ever
  kStep,
};

// What a rank was doing when somebody looked. Travels in heartbeats as it is.
struct Activity {
  Phase phase = Phase::kFree;
  int32_t part = -1;        // layer, or -1; while loading, per cent
  uint64_t step = 0;        // steps begun so far
  uint64_t operations = 0;  // begun in this step; all ranks go through the same ones, in the same order
  std::array<char, 56> operation{};

  bool operator==(const Activity&) const = default;
  // "step 12, layer 7: all-to-all over kvp"
  std::string ToString() const;
};

// Threads: one writes at a time, any may read. A writer pays for a few plain stores. Texts are of static
// storage, and cut when they are longer than an Activity holds.
class ProgressRecord {
 public:
  void Load(const char* operation, double fraction) {
    phase_.store(Phase::kLoading, kOrder);
    part_.store(static_cast<int>(100 * fraction), kOrder);
    Enter(operation);
  }
  void BeginStep(const char* operation) {
    step_.store(step_.load(kOrder) + 1, kOrder);
    operations_.store(0, kOrder);
    part_.store(-1, kOrder);
    phase_.store(Phase::kStep, kOrder);
    Enter(operation);
  }
  // What the step comes to next.
  void EnterLayer(int layer) { part_.store(layer, kOrder); }
  void LeaveLayers() { part_.store(-1, kOrder); }
  void Enter(const char* operation) {
    operation_.store(operation, kOrder);
    operations_.store(operations_.load(kOrder) + 1, kOrder);
  }
  // Ends the step, or loading.
  void Rest(const char* operation) {
    phase_.store(Phase::kFree, kOrder);
    Enter(operation);
  }

  // While somebody writes, the parts may be of neighbouring operations.
  Activity Read() const;

 private:
  static constexpr std::memory_order kOrder = std::memory_order_relaxed;

  std::atomic<Phase> phase_{Phase::kFree};
  std::atomic<int> part_{-1};
  std::atomic<uint64_t> step_{0}, operations_{0};
  std::atomic<const char*> operation_{"starting"};
};

}  // namespace longspan
