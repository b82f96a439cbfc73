// Which tokens may follow: an automaton against a vocabulary.
//
// What a token does inside the rule of a state, and inside what this one calls, does not depend on what
// called the rule: it is worked out once and kept. Tokens that go on after the end of the rule are looked at
// each time. Threads: any; what is kept is guarded by a lock.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/grammar/automaton.h"
#include "runtime/grammar/completions.h"
#include "runtime/grammar/matcher.h"
#include "runtime/grammar/token_vocabulary.h"

namespace longspan {

class TokenMasks {
 public:
  // `automaton` must outlive the masks.
  TokenMasks(const Automaton& automaton, std::shared_ptr<const TokenVocabulary> vocabulary);

  const Automaton& automaton() const { return automaton_; }
  const TokenVocabulary& vocabulary() const { return *vocabulary_; }
  const Completions& completions() const { return completions_; }

  // Sets the bits of the tokens that lead one of the threads to where at most `most_distance` more complete
  // the text (Matcher::Distance). Leaves the matcher as it was.
  void Allow(Matcher* matcher, const Matcher::Threads& threads, int64_t most_distance,
             std::span<uint64_t> allowed) const;

 private:
  struct StateMask;

  std::shared_ptr<StateMask> MaskOf(StateId state) const;
  std::span<const TokenVocabulary::Node> AfterLeaves(StateMask* mask, uint8_t byte) const;
  StateMask ComputeMask(StateId state) const;

  const Automaton& automaton_;
  const std::shared_ptr<const TokenVocabulary> vocabulary_;
  const Completions completions_;
  mutable std::mutex mutex_;
  mutable absl::flat_hash_map<StateId, std::shared_ptr<StateMask>> masks_;  // guarded, as is their size
  mutable size_t masks_bytes_ = 0;
};

}  // namespace longspan
