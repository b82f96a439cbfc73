// A recursive transition network over bytes: what a grammar is compiled to.
//
// A byte edge reads one byte. A call edge runs a rule, which is named by its first state, up to any of its
// accepting states, and goes on at its target. A special edge reads one special token. A text belongs to the
// automaton when a run over all of it ends in an accepting state, with no call open.
// Threads: an automaton is immutable; a builder belongs to one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace longspan {

using StateId = int32_t;

struct ByteEdge {
  uint8_t first, last;  // both included
  StateId target;
};
struct CallEdge {
  StateId rule;
  StateId target;
};
struct SpecialEdge {
  int32_t spelling;  // index of Automaton::spellings
  StateId target;
};

// Edges of all states, by state.
template <typename Edge>
class EdgeTable {
 public:
  std::span<const Edge> of(StateId state) const {
    const auto s = static_cast<size_t>(state);
    return std::span(edges).subspan(begins[s], begins[s + 1] - begins[s]);
  }

  std::vector<size_t> begins = {0};  // [states + 1]
  std::vector<Edge> edges;
};

struct Automaton {
  StateId num_states() const { return static_cast<StateId>(accepting.size()); }

  StateId start = 0;
  EdgeTable<ByteEdge> bytes;
  EdgeTable<CallEdge> calls;
  EdgeTable<SpecialEdge> specials;
  std::vector<bool> accepting;
  // Where any plain character (token_vocabulary.h) leads, and nowhere else; -1 where that is not
  // so. Lets the many tokens that are such text be taken at once.
  std::vector<StateId> plain_next;
  std::vector<std::string> spellings;
};

// Invariants of what it builds: a rule reads at least one byte (or special token), and no rule calls itself
// before it has read one.
class AutomatonBuilder {
 public:
  static constexpr int64_t kMostStates = 200'000;
  static constexpr size_t kMostEdges = 2'000'000;  // once empty edges are gone

  explicit AutomatonBuilder(int64_t most_states = kMostStates) : most_states_(most_states) {}

  StateId AddState();
  // Once too large, nothing grows any more and Build fails; whoever adds in a loop looks.
  bool too_large() const { return too_large_; }

  void Accept(StateId state) { accepting_[static_cast<size_t>(state)] = true; }
  void AddBytes(StateId from, uint8_t first, uint8_t last, StateId to);
  void AddEmpty(StateId from, StateId to);  // reads nothing
  void AddCall(StateId from, StateId rule, StateId to);
  void AddSpecial(StateId from, std::string_view spelling, StateId to);
  void AddText(StateId from, std::string_view text, StateId to);
  // Any of them.
  void AddTexts(StateId from, std::vector<std::string> texts, StateId to);
  void SetPlainNext(StateId state, StateId next) { plain_next_[static_cast<size_t>(state)] = next; }

  // A copy of `other`; returns its start, which can be called.
  StateId Append(const Automaton& other);

  // InvalidArgument: too large, or a rule calls itself before it has read anything.
  absl::StatusOr<Automaton> Build(StateId start);

 private:
  template <typename Edge>
  using Drafts = std::vector<std::pair<StateId, Edge>>;  // from, edge

  template <typename Edge>
  void Add(Drafts<Edge>* edges, StateId from, Edge edge);

  const int64_t most_states_;
  bool too_large_ = false;
  std::vector<bool> accepting_;
  std::vector<StateId> plain_next_;
  Drafts<ByteEdge> bytes_;
  Drafts<StateId> empties_;
  Drafts<CallEdge> calls_;
  Drafts<SpecialEdge> specials_;
  std::vector<std::string> spellings_;
};

}  // namespace longspan
