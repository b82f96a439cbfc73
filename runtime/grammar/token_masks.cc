#include "runtime/grammar/token_masks.h"

#include <algorithm>
#include <limits>
#include <map>

namespace longspan {
namespace {

using Thread = Matcher::Thread;
using Threads = Matcher::Threads;
using Node = TokenVocabulary::Node;

constexpr size_t kMostBytesKept = size_t{64} << 20;  // of one automaton's masks

void SetBit(int32_t token, std::span<uint64_t> bits) {
  bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
}

// Matches the tokens below a node of the trie, from threads that have read what the node spells.
class TrieWalk {
 public:
  TrieWalk(const Automaton& automaton, const TokenVocabulary& vocabulary, Matcher* matcher, Threads start)
      : automaton_(automaton), vocabulary_(vocabulary), matcher_(*matcher), threads_(std::move(start)) {}

  // May be run again. take(tokens, distance): tokens that can be read and what is then left. leave(node): the
  // outermost rule can end where the node does, and tokens go on there.
  template <typename Take, typename Leave>
  void Run(Node root, const Take& take, const Leave& leave) {
    levels_ = {{vocabulary_.subtree_end(root), 0, matcher_.mark()}};
    plain_taken_until_ = 0;
    if (root == TokenVocabulary::kRoot) TakePlainByLength(take);
    for (Node node = root + 1; node < vocabulary_.subtree_end(root);) {
      while (node >= levels_.back().subtree_end) Pop();
      const Node subtree_end = vocabulary_.subtree_end(node);
      if (node < plain_taken_until_ && vocabulary_.all_plain(node)) {
        node = subtree_end;
        continue;
      }
      const Level level{subtree_end, threads_.size(), matcher_.mark()};
      const bool ended =
          matcher_.StepByte(vocabulary_.byte(node), levels_.back().threads_begin, threads_.size(), &threads_);
      levels_.push_back(level);
      TakeNode(node, ended, take);
      if (ended && subtree_end > node + 1) leave(node);
      if (threads_.size() > level.threads_begin) {
        ++node;
      } else {
        node = subtree_end;
      }
    }
    while (levels_.size() > 1) Pop();
  }

 private:
  struct Level {
    Node subtree_end;
    size_t threads_begin;  // they end with the level above
    Matcher::Mark mark;
  };

  void Pop() {
    threads_.resize(levels_.back().threads_begin);
    matcher_.Rollback(levels_.back().mark);
    levels_.pop_back();
  }

  // The only thread of the uppermost level if plain text leads it somewhere; else a state of -1.
  Thread PlainThread() const {
    if (threads_.size() != levels_.back().threads_begin + 1) return {-1, 0};
    const Thread thread = threads_.back();
    return {automaton_.plain_next[static_cast<size_t>(thread.state)], thread.frame};
  }

  template <typename Take>
  void TakePlainByLength(const Take& take) {
    Thread thread = PlainThread();
    if (thread.state < 0) return;
    plain_taken_until_ = vocabulary_.subtree_end(TokenVocabulary::kRoot);
    for (size_t length = 1; length <= vocabulary_.longest_plain() && thread.state >= 0; ++length) {
      if (!matcher_.HasCompletion(thread)) return;
      take(vocabulary_.plain_tokens_of_length(length), matcher_.Distance(thread));
      thread.state = automaton_.plain_next[static_cast<size_t>(thread.state)];
    }
  }

  template <typename Take>
  void TakeNode(Node node, bool ended, const Take& take) {
    const size_t begin = levels_.back().threads_begin;
    if (node >= plain_taken_until_) {
      // A token that is plain leads where this node does.
      if (const Thread thread = PlainThread(); thread.state >= 0 && thread == threads_.back()) {
        take(vocabulary_.plain_tokens(node), matcher_.Distance(thread));
        plain_taken_until_ = vocabulary_.subtree_end(node);
      }
    }
    const std::span<const int32_t> tokens = vocabulary_.tokens(node);
    if (tokens.empty() || (!ended && begin == threads_.size())) return;
    int64_t distance = ended ? 0 : std::numeric_limits<int64_t>::max();
    for (size_t i = begin; i < threads_.size(); ++i) {
      distance = std::min(distance, matcher_.Distance(threads_[i]));
    }
    take(tokens, distance);
  }

  const Automaton& automaton_;
  const TokenVocabulary& vocabulary_;
  Matcher& matcher_;
  Threads threads_;  // of all levels
  std::vector<Level> levels_;
  Node plain_taken_until_ = 0;  // plain tokens of nodes before this one were taken with a whole subtree
};

}  // namespace

// What tokens do from a state, inside its rule.
struct TokenMasks::StateMask {
  struct Set {
    int64_t distance;             // to the end of the rule, after the token
    std::vector<int32_t> tokens;  // few of them; or
    std::vector<uint64_t> bits;   // a bit for each token of the vocabulary
  };
  std::vector<Set> sets;     // nearest first
  std::vector<Node> leaves;  // where the rule can end in the middle of tokens
  int32_t depth = 0;         // of calls that they open at most

  size_t Bytes() const {
    size_t bytes = sizeof(*this) + leaves.size() * sizeof(Node);
    for (const Set& set : sets) bytes += sizeof(set) + set.tokens.size() * 4 + set.bits.size() * 8;
    return bytes;
  }
};

TokenMasks::TokenMasks(const Automaton& automaton, std::shared_ptr<const TokenVocabulary> vocabulary)
    : automaton_(automaton), vocabulary_(std::move(vocabulary)), completions_(automaton, vocabulary_.get()) {}

TokenMasks::StateMask TokenMasks::ComputeMask(StateId state) const {
  Matcher matcher(automaton_, completions_);
  StateMask mask;
  std::map<int64_t, std::vector<int32_t>> by_distance;
  TrieWalk walk(automaton_, *vocabulary_, &matcher, {{state, Matcher::kOutermost}});
  walk.Run(
      TokenVocabulary::kRoot,
      [&](std::span<const int32_t> tokens, int64_t distance) {
        std::vector<int32_t>& set = by_distance[distance];
        set.insert(set.end(), tokens.begin(), tokens.end());
      },
      [&](Node node) { mask.leaves.push_back(node); });
  mask.depth = matcher.deepest();
  for (auto& [distance, tokens] : by_distance) {
    StateMask::Set& set = mask.sets.emplace_back();
    set.distance = distance;
    if (tokens.size() * 4 <= vocabulary_->mask_words() * 8) {
      set.tokens.assign(tokens.begin(), tokens.end());
    } else {
      set.bits.resize(vocabulary_->mask_words());
      for (const int32_t token : tokens) SetBit(token, set.bits);
    }
  }
  return mask;
}

std::shared_ptr<const TokenMasks::StateMask> TokenMasks::MaskOf(StateId state) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const StateMask>& kept = masks_[state];
  if (kept != nullptr) return kept;
  auto mask = std::make_shared<const StateMask>(ComputeMask(state));
  if (masks_bytes_ + mask->Bytes() > kMostBytesKept) {
    masks_.clear();
    masks_bytes_ = 0;
  }
  masks_bytes_ += mask->Bytes();
  masks_[state] = mask;
  return mask;
}

void TokenMasks::Allow(Matcher* matcher, const Threads& threads, int64_t most_distance,
                       std::span<uint64_t> allowed) const {
  const auto take = [&](std::span<const int32_t> tokens, int64_t distance) {
    if (distance > most_distance) return;
    for (const int32_t token : tokens) SetBit(token, allowed);
  };
  const auto leave_nothing = [](Node) {};  // nothing follows the outermost rule
  for (const Thread& thread : threads) {
    const std::shared_ptr<const StateMask> mask = MaskOf(thread.state);
    if (matcher->FrameDepth(thread.frame) + mask->depth > Matcher::kMostDepth) {
      TrieWalk(automaton_, *vocabulary_, matcher, {thread}).Run(TokenVocabulary::kRoot, take, leave_nothing);
      continue;
    }
    const int64_t after_rule = matcher->FrameDistance(thread.frame);
    for (const StateMask::Set& set : mask->sets) {
      take(set.tokens, set.distance + after_rule);
      if (set.bits.empty() || set.distance + after_rule > most_distance) continue;
      for (size_t word = 0; word < allowed.size(); ++word) allowed[word] |= set.bits[word];
    }
    if (mask->leaves.empty() || thread.frame == Matcher::kOutermost) continue;
    const Matcher::Mark mark = matcher->mark();
    Threads returned;
    matcher->Return(thread.frame, &returned);
    TrieWalk walk(automaton_, *vocabulary_, matcher, std::move(returned));
    for (const Node node : mask->leaves) walk.Run(node, take, leave_nothing);
    matcher->Rollback(mark);
  }
}

}  // namespace longspan
