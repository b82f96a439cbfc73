#include "runtime/grammar/completions.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace longspan {

// The fewest bytes from each state to the end of its rule: Dijkstra's algorithm, with edges that cost what a
// rule costs (Knuth, A generalization of Dijkstra's algorithm, 1977).
struct Completions::Search {
  struct Use {  // an edge that a state is part of
    StateId from;
    StateId other;  // the other state of a call, whichever was found first; -1: a byte edge
  };

  Search(const Automaton& automaton, const TokenVocabulary* vocabulary);

  // The lowest byte of an edge that is a token by itself; -1 when none is.
  int ByteOf(const ByteEdge& edge) const {
    const int byte = next_token_byte[edge.first];
    return byte <= edge.last ? byte : -1;
  }
  int32_t& bytes_of(StateId state) { return bytes[static_cast<size_t>(state)]; }
  int32_t bytes_of(StateId state) const { return bytes[static_cast<size_t>(state)]; }

  std::array<int, 256> next_token_byte;  // the lowest from here on that is a token; 256: none
  std::vector<int32_t> bytes;
  std::vector<StateId> order;  // nearest first; a state comes after all that its completion runs through
};

Completions::Search::Search(const Automaton& automaton, const TokenVocabulary* vocabulary) {
  int next = 256;
  for (int byte = 255; byte >= 0; --byte) {
    bool is_token = true;
    if (vocabulary != nullptr) {
      const auto node = vocabulary->Child(TokenVocabulary::kRoot, static_cast<uint8_t>(byte));
      is_token = node && !vocabulary->tokens(*node).empty();
    }
    if (is_token) next = byte;
    next_token_byte[static_cast<size_t>(byte)] = next;
  }

  const StateId num_states = automaton.num_states();
  std::vector<std::vector<Use>> uses(static_cast<size_t>(num_states));
  const auto use = [&uses](StateId state, Use u) { uses[static_cast<size_t>(state)].push_back(u); };
  using Entry = std::pair<int32_t, StateId>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> nearest;
  bytes.assign(static_cast<size_t>(num_states), kNever);
  const auto reach = [&](StateId state, int64_t distance) {
    if (distance >= bytes_of(state)) return;
    bytes_of(state) = static_cast<int32_t>(distance);
    nearest.emplace(bytes_of(state), state);
  };
  for (StateId state = 0; state < num_states; ++state) {
    for (const ByteEdge& edge : automaton.bytes.of(state)) {
      if (ByteOf(edge) >= 0) use(edge.target, {state, -1});
    }
    for (const CallEdge& edge : automaton.calls.of(state)) {
      use(edge.target, {state, edge.rule});
      use(edge.rule, {state, edge.target});
    }
    if (automaton.accepting[static_cast<size_t>(state)]) reach(state, 0);
  }
  std::vector<bool> found(static_cast<size_t>(num_states), false);
  while (!nearest.empty()) {
    const StateId state = nearest.top().second;
    nearest.pop();
    if (found[static_cast<size_t>(state)]) continue;
    found[static_cast<size_t>(state)] = true;
    order.push_back(state);
    for (const Use& u : uses[static_cast<size_t>(state)]) {
      if (u.other < 0) {
        reach(u.from, int64_t{bytes_of(state)} + 1);
      } else if (found[static_cast<size_t>(u.other)]) {
        reach(u.from, int64_t{bytes_of(state)} + bytes_of(u.other));
      }
    }
  }
}

Completions::Completions(const Automaton& automaton, const TokenVocabulary* vocabulary)
    : automaton_(automaton),
      vocabulary_(vocabulary),
      tokens_(static_cast<size_t>(automaton.num_states()), kNever),
      depth_(static_cast<size_t>(automaton.num_states()), 0) {
  const Search search(automaton, vocabulary);
  for (const StateId state : search.order) Spell(search, state);
}

void Completions::Spell(const Search& search, StateId state) {
  int32_t& tokens = tokens_[static_cast<size_t>(state)];
  int32_t& depth = depth_[static_cast<size_t>(state)];
  if (search.bytes_of(state) == 0) {
    tokens = 0;
    return;
  }
  for (const ByteEdge& edge : automaton_.bytes.of(state)) {
    if (search.ByteOf(edge) < 0 || search.bytes_of(edge.target) + 1 != search.bytes_of(state)) continue;
    tokens = SpellBytes(search, state);
    depth = this->depth(edge.target);
    return;
  }
  for (const CallEdge& edge : automaton_.calls.of(state)) {
    if (!exists(edge.rule) || !exists(edge.target)) continue;  // or not spelled yet: another call is as near
    if (search.bytes_of(edge.rule) + search.bytes_of(edge.target) != search.bytes_of(state)) continue;
    tokens = this->tokens(edge.rule) + this->tokens(edge.target);
    depth = std::max(1 + this->depth(edge.rule), this->depth(edge.target));
    return;
  }
}

int32_t Completions::SpellBytes(const Search& search, StateId state) const {
  int32_t least = kNever;
  TokenVocabulary::Node node = TokenVocabulary::kRoot;
  while (search.bytes_of(state) > 0) {
    const ByteEdge* nearest = nullptr;
    for (const ByteEdge& edge : automaton_.bytes.of(state)) {
      if (search.ByteOf(edge) < 0 || search.bytes_of(edge.target) + 1 != search.bytes_of(state)) continue;
      nearest = &edge;
      break;
    }
    if (nearest == nullptr) break;  // a call
    state = nearest->target;
    if (vocabulary_ == nullptr) return 1 + tokens(state);
    const auto child = vocabulary_->Child(node, static_cast<uint8_t>(search.ByteOf(*nearest)));
    if (!child) break;
    node = *child;
    if (!vocabulary_->tokens(node).empty()) least = std::min(least, 1 + tokens(state));
  }
  return least;
}

}  // namespace longspan
