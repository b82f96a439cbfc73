#include "runtime/grammar/token_masks.h"

#include <algorithm>
#include <bitset>
#include <limits>
#include <map>

namespace longspan {
namespace {

using Thread = Matcher::Thread;
using Threads = Matcher::Threads;
using Node = TokenVocabulary::Node;

constexpr size_t kMostBytesKept = size_t{8} << 20;  // of one automaton's masks

void SetBit(int32_t token, std::span<uint64_t> bits) {
  bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
}

// Matches the tokens below a node of the trie, from threads that have read what the node spells.
class TrieWalk {
 public:
  TrieWalk(const Automaton& automaton, const TokenVocabulary& vocabulary, Matcher* matcher, Threads start)
      : automaton_(automaton), vocabulary_(vocabulary), matcher_(*matcher), threads_(std::move(start)) {}

  // take(tokens, distance): tokens that can be read and what is then left. leave(node): the outermost rule
  // can end where the node does, and tokens go on there.
  template <typename Take, typename Leave>
  void RunAll(const Take& take, const Leave& leave) {
    levels_ = {{vocabulary_.subtree_end(TokenVocabulary::kRoot), 0, matcher_.mark()}};
    plain_taken_until_ = 0;
    TakePlainByLength(take);
    Descend(TokenVocabulary::kRoot + 1, take, leave);
  }

  // Below nodes whose last byte is the same, and comes next.
  template <typename Take, typename Leave>
  void RunAfter(std::span<const Node> nodes, const Take& take, const Leave& leave) {
    if (nodes.empty()) return;
    const Level start{0, threads_.size(), matcher_.mark()};
    const bool ended = matcher_.StepByte(vocabulary_.byte(nodes[0]), 0, threads_.size(), &threads_);
    plain_taken_until_ = 0;
    for (const Node node : nodes) {
      levels_ = {start};
      levels_.back().subtree_end = vocabulary_.subtree_end(node);
      TakeNode(node, ended, take);
      if (threads_.size() > start.threads_begin) Descend(node + 1, take, leave);
    }
    levels_ = {start};
    Pop();
  }

 private:
  struct Level {
    Node subtree_end;
    size_t threads_begin;  // they end with the level above
    Matcher::Mark mark;
  };

  // From `node` to the end of the lowest level.
  template <typename Take, typename Leave>
  void Descend(Node node, const Take& take, const Leave& leave) {
    for (const Node end = levels_.front().subtree_end; node < end;) {
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
      node = threads_.size() > level.threads_begin ? node + 1 : subtree_end;
    }
    while (levels_.size() > 1) Pop();
  }

  void Pop() {
    threads_.resize(levels_.back().threads_begin);
    matcher_.Rollback(levels_.back().mark);
    levels_.pop_back();
  }

  // Where a plain character leads from the uppermost level, if that is one thread; else a state of -1.
  Thread PlainNext() const {
    const size_t begin = levels_.back().threads_begin;
    if (begin == threads_.size()) return {-1, 0};
    const auto others = threads_.begin() + static_cast<std::ptrdiff_t>(begin) + 1;
    if (!std::all_of(others, threads_.end(), [](const Thread& thread) { return thread.called; }))
      return {-1, 0};
    return {automaton_.plain_next[static_cast<size_t>(threads_[begin].state)], threads_[begin].frame};
  }

  // Whether plain_next tells where plain tokens lead that begin with a character to `state`.
  bool IsPlainChainKnown(StateId state) const {
    for (size_t length = 1; length < vocabulary_.longest_plain(); ++length) {
      const StateId next = automaton_.plain_next[static_cast<size_t>(state)];
      if (next == state) return true;
      if (next < 0) {
        const auto reads_plain = [](const ByteEdge& edge) { return edge.first != '"' || edge.last != '"'; };
        const std::span<const ByteEdge> edges = automaton_.bytes.of(state);
        return automaton_.calls.of(state).empty() && std::none_of(edges.begin(), edges.end(), reads_plain);
      }
      state = next;
    }
    return true;
  }

  template <typename Take>
  void TakePlainByLength(const Take& take) {
    const Thread first = PlainNext();
    if (first.state < 0 || !IsPlainChainKnown(first.state)) return;
    Thread thread = first;
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
      if (const Thread thread = PlainNext(); thread.state >= 0 && thread == threads_[begin]) {
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
  // Children of the leaves by their byte, made when that byte is found to follow. Many leaves have hundreds
  // of children, of which the few bytes that JSON has after a string pick few.
  std::map<uint8_t, std::vector<Node>> after_leaves;

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
  Threads start;
  matcher.Start({state, Matcher::kOutermost}, &start);
  TrieWalk walk(automaton_, *vocabulary_, &matcher, std::move(start));
  walk.RunAll(
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

std::shared_ptr<TokenMasks::StateMask> TokenMasks::MaskOf(StateId state) const {
  const std::lock_guard lock(mutex_);
  if (const auto kept = masks_.find(state); kept != masks_.end()) return kept->second;
  auto mask = std::make_shared<StateMask>(ComputeMask(state));
  if (masks_bytes_ + mask->Bytes() > kMostBytesKept) {
    masks_.clear();
    masks_bytes_ = 0;
  }
  masks_bytes_ += mask->Bytes();
  masks_.emplace(state, mask);
  return mask;
}

// Valid while the mask is.
std::span<const Node> TokenMasks::AfterLeaves(StateMask* mask, uint8_t byte) const {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = mask->after_leaves.try_emplace(byte);
  if (is_new) {
    for (const Node leaf : mask->leaves) {
      if (const auto child = vocabulary_->Child(leaf, byte)) found->second.push_back(*child);
    }
    masks_bytes_ += found->second.size() * sizeof(Node);
  }
  return found->second;
}

void TokenMasks::Allow(Matcher* matcher, const Threads& threads, int64_t most_distance,
                       std::span<uint64_t> allowed) const {
  const auto take = [&](std::span<const int32_t> tokens, int64_t distance) {
    if (distance > most_distance) return;
    for (const int32_t token : tokens) SetBit(token, allowed);
  };
  const auto leave_nothing = [](Node) {};  // nothing follows the outermost rule
  for (const Thread& thread : threads) {
    if (thread.called) continue;
    const Matcher::Mark mark = matcher->mark();
    const std::shared_ptr<StateMask> mask = MaskOf(thread.state);
    if (matcher->FrameDepth(thread.frame) + mask->depth > Matcher::kMostDepth) {
      Threads start;
      matcher->Start(thread, &start);
      TrieWalk(automaton_, *vocabulary_, matcher, std::move(start)).RunAll(take, leave_nothing);
      matcher->Rollback(mark);
      continue;
    }
    const int64_t after_rule = matcher->FrameDistance(thread.frame);
    for (const StateMask::Set& set : mask->sets) {
      take(set.tokens, set.distance + after_rule);
      if (set.bits.empty() || set.distance + after_rule > most_distance) continue;
      for (size_t word = 0; word < allowed.size(); ++word) allowed[word] |= set.bits[word];
    }
    if (mask->leaves.empty() || thread.frame == Matcher::kOutermost) continue;
    Threads returned;
    matcher->Return(thread.frame, &returned);
    std::bitset<256> next_bytes;
    for (const Thread& next : returned) {
      for (const ByteEdge& edge : automaton_.bytes.of(next.state)) {
        for (int byte = edge.first; byte <= edge.last; ++byte) next_bytes.set(static_cast<size_t>(byte));
      }
    }
    TrieWalk walk(automaton_, *vocabulary_, matcher, std::move(returned));
    for (size_t byte = 0; byte < next_bytes.size(); ++byte) {
      if (!next_bytes[byte]) continue;
      walk.RunAfter(AfterLeaves(mask.get(), static_cast<uint8_t>(byte)), take, leave_nothing);
    }
    matcher->Rollback(mark);
  }
}

}  // namespace longspan
