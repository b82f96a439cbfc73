#include "runtime/grammar/automaton.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

template <typename Edge>
EdgeTable<Edge> Group(const std::vector<std::pair<StateId, Edge>>& drafts, size_t num_states) {
  EdgeTable<Edge> table;
  table.begins.assign(num_states + 1, 0);
  for (const auto& [from, edge] : drafts) ++table.begins[static_cast<size_t>(from) + 1];
  for (size_t s = 0; s < num_states; ++s) table.begins[s + 1] += table.begins[s];
  table.edges.resize(drafts.size());
  std::vector<size_t> next = table.begins;
  for (const auto& [from, edge] : drafts) table.edges[next[static_cast<size_t>(from)]++] = edge;
  return table;
}

// Appends the edges of `state` in `from` to the state being written in `to`.
template <typename Edge>
void AppendEdges(const EdgeTable<Edge>& from, StateId state, EdgeTable<Edge>* to) {
  const std::span<const Edge> edges = from.of(state);
  to->edges.insert(to->edges.end(), edges.begin(), edges.end());
}

// Whether the rules that call each other with nothing read before can be put in order.
bool CallsEnd(const Automaton& automaton) {
  const auto num_states = static_cast<size_t>(automaton.num_states());
  std::vector<bool> is_rule(num_states, false);
  for (const CallEdge& call : automaton.calls.edges) is_rule[static_cast<size_t>(call.rule)] = true;
  std::vector<int64_t> callers(num_states, 0);
  size_t rules = 0;
  for (size_t s = 0; s < num_states; ++s) {
    if (!is_rule[s]) continue;
    ++rules;
    for (const CallEdge& call : automaton.calls.of(static_cast<StateId>(s))) {
      ++callers[static_cast<size_t>(call.rule)];
    }
  }
  std::vector<StateId> uncalled;
  for (size_t s = 0; s < num_states; ++s) {
    if (is_rule[s] && callers[s] == 0) uncalled.push_back(static_cast<StateId>(s));
  }
  size_t ordered = 0;
  for (; !uncalled.empty(); ++ordered) {
    const StateId rule = uncalled.back();
    uncalled.pop_back();
    for (const CallEdge& call : automaton.calls.of(rule)) {
      if (--callers[static_cast<size_t>(call.rule)] == 0) uncalled.push_back(call.rule);
    }
  }
  return ordered == rules;
}

}  // namespace

StateId AutomatonBuilder::AddState() {
  if (static_cast<int64_t>(accepting_.size()) >= most_states_) {
    too_large_ = true;
    return 0;
  }
  accepting_.push_back(false);
  plain_next_.push_back(-1);
  return static_cast<StateId>(accepting_.size() - 1);
}

template <typename Edge>
void AutomatonBuilder::Add(Drafts<Edge>* edges, StateId from, Edge edge) {
  if (edges->size() >= kMostEdges) too_large_ = true;
  if (!too_large_) edges->emplace_back(from, edge);
}

void AutomatonBuilder::AddBytes(StateId from, uint8_t first, uint8_t last, StateId to) {
  Add(&bytes_, from, ByteEdge{first, last, to});
}

void AutomatonBuilder::AddEmpty(StateId from, StateId to) { Add(&empties_, from, to); }

void AutomatonBuilder::AddCall(StateId from, StateId rule, StateId to) {
  Add(&calls_, from, CallEdge{rule, to});
}

void AutomatonBuilder::AddSpecial(StateId from, std::string_view spelling, StateId to) {
  const auto found = std::find(spellings_.begin(), spellings_.end(), spelling);
  const auto index = static_cast<int32_t>(found - spellings_.begin());
  if (found == spellings_.end()) spellings_.emplace_back(spelling);
  Add(&specials_, from, SpecialEdge{index, to});
}

void AutomatonBuilder::AddText(StateId from, std::string_view text, StateId to) {
  for (size_t i = 0; i < text.size(); ++i) {
    const StateId next = i + 1 < text.size() ? AddState() : to;
    const auto byte = static_cast<uint8_t>(text[i]);
    AddBytes(from, byte, byte, next);
    from = next;
  }
  if (text.empty()) AddEmpty(from, to);
}

void AutomatonBuilder::AddTexts(StateId from, std::vector<std::string> texts, StateId to) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  std::vector<StateId> path = {from};  // of the text before: the state after each of its bytes
  std::string_view before;
  for (size_t t = 0; t < texts.size(); ++t) {
    const std::string& text = texts[t];
    const auto [end, unused] = std::mismatch(text.begin(), text.end(), before.begin(), before.end());
    const auto shared = static_cast<size_t>(end - text.begin());
    path.resize(shared + 1);
    const bool goes_on = t + 1 < texts.size() && texts[t + 1].starts_with(text);
    for (size_t i = shared; i < text.size(); ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      path.push_back(i + 1 == text.size() && !goes_on ? to : AddState());
      AddBytes(path[i], byte, byte, path[i + 1]);
    }
    if (goes_on || text.empty()) AddEmpty(path.back(), to);
    before = text;
  }
}

StateId AutomatonBuilder::Append(const Automaton& other) {
  const auto offset = static_cast<StateId>(accepting_.size());
  if (accepting_.size() + other.accepting.size() > static_cast<size_t>(most_states_)) {
    too_large_ = true;
    return 0;
  }
  for (StateId s = 0; s < other.num_states(); ++s) {
    const StateId state = AddState();
    if (other.accepting[static_cast<size_t>(s)]) Accept(state);
    const StateId plain_next = other.plain_next[static_cast<size_t>(s)];
    if (plain_next >= 0) SetPlainNext(state, plain_next + offset);
    for (const ByteEdge& edge : other.bytes.of(s)) {
      AddBytes(state, edge.first, edge.last, edge.target + offset);
    }
    for (const CallEdge& edge : other.calls.of(s)) AddCall(state, edge.rule + offset, edge.target + offset);
    for (const SpecialEdge& edge : other.specials.of(s)) {
      AddSpecial(state, other.spellings[static_cast<size_t>(edge.spelling)], edge.target + offset);
    }
  }
  return other.start + offset;
}

absl::StatusOr<Automaton> AutomatonBuilder::Build(StateId start) {
  const size_t num_states = accepting_.size();
  const EdgeTable<StateId> empties = Group(empties_, num_states);
  const EdgeTable<ByteEdge> bytes = Group(bytes_, num_states);
  const EdgeTable<CallEdge> calls = Group(calls_, num_states);
  const EdgeTable<SpecialEdge> specials = Group(specials_, num_states);

  // States that only empty edges lead to live on in the states before them.
  std::vector<bool> reached(num_states, false);
  const auto reach = [&](StateId state) { reached[static_cast<size_t>(state)] = true; };
  reach(start);
  for (const auto& [from, edge] : bytes_) reach(edge.target);
  for (const auto& [from, edge] : calls_) reach(edge.rule), reach(edge.target);
  for (const auto& [from, edge] : specials_) reach(edge.target);

  Automaton result;
  result.start = start;
  result.accepting.resize(num_states, false);
  result.plain_next = plain_next_;
  result.spellings = spellings_;
  std::vector<StateId> closure;
  std::vector<StateId> in_closure_of(num_states, -1);
  for (StateId state = 0; state < static_cast<StateId>(num_states) && !too_large_; ++state) {
    closure.clear();
    const auto visit = [&](StateId s) {
      StateId& owner = in_closure_of[static_cast<size_t>(s)];
      if (owner != state) closure.push_back(s);
      owner = state;
    };
    if (reached[static_cast<size_t>(state)]) visit(state);
    for (size_t i = 0; i < closure.size(); ++i) {
      const StateId s = closure[i];
      for (const StateId target : empties.of(s)) visit(target);
      AppendEdges(bytes, s, &result.bytes);
      AppendEdges(calls, s, &result.calls);
      AppendEdges(specials, s, &result.specials);
      if (accepting_[static_cast<size_t>(s)]) result.accepting[static_cast<size_t>(state)] = true;
    }
    result.bytes.begins.push_back(result.bytes.edges.size());
    result.calls.begins.push_back(result.calls.edges.size());
    result.specials.begins.push_back(result.specials.edges.size());
    too_large_ = too_large_ || result.bytes.edges.size() + result.calls.edges.size() > kMostEdges;
  }
  if (too_large_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the grammar needs more than ", most_states_, " states or ", kMostEdges,
                     " edges; lower its largest lengths and counts, or leave some of it out"));
  }
  for (const CallEdge& call : result.calls.edges) {
    LONGSPAN_CHECK(!result.accepting[static_cast<size_t>(call.rule)]);
  }
  if (!CallsEnd(result)) {
    return absl::InvalidArgumentError(
        "a \"$ref\" leads back to itself with no object or array between; such a schema says nothing");
  }
  return result;
}

}  // namespace longspan
