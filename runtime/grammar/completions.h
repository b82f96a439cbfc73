// What it takes to get from a state of an automaton to the end of its rule.
//
// Of the completions of a state one of the fewest bytes is chosen, always the same one, such that each next
// state's is the rest of it. It is spelled in the fewest tokens that do not cross from one rule to another,
// so the number of tokens is no lower bound, but one that real tokens always reach: from a state that takes n
// > 0 tokens there is a token after which n - 1 are left. Threads: immutable.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/grammar/automaton.h"
#include "runtime/grammar/token_vocabulary.h"

namespace longspan {

class Completions {
 public:
  static constexpr int32_t kNever = 1 << 30;  // no completion, or one longer than this

  // Without a vocabulary a token is a byte.
  Completions(const Automaton& automaton, const TokenVocabulary* vocabulary);

  bool exists(StateId state) const { return tokens(state) < kNever; }
  int32_t tokens(StateId state) const { return tokens_[static_cast<size_t>(state)]; }
  // Calls that it has open at the same time.
  int32_t depth(StateId state) const { return depth_[static_cast<size_t>(state)]; }

 private:
  struct Search;

  // The tokens along the bytes that the search chose.
  int32_t SpellBytes(const Search& search, StateId state) const;
  void Spell(const Search& search, StateId state);

  const Automaton& automaton_;
  const TokenVocabulary* const vocabulary_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> depth_;
};

}  // namespace longspan
