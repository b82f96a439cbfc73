// Byte-pair merging (arXiv 1508.07909): again and again, the best adjacent pair of symbols becomes one.
//
// A heap of candidates over a linked list of symbols: O(n log n) for n symbols, whatever the text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace longspan {

struct BpeSymbol {
  int32_t id;      // -1 when the symbol is no token
  uint32_t begin;  // bytes [begin, end) of the text
  uint32_t end;
  int32_t previous;  // index of the neighbour, -1 at either end
  int32_t next;
};

struct BpeMerge {
  uint32_t rank;  // lower goes first; of equal ranks, the leftmost
  int32_t id;     // what the pair becomes
};

// Buffers of the merging, kept between words.
class BpeScratch {
 public:
  // Starts a word.
  void Clear() { symbols_.clear(); }

  // Adds a symbol to the end of the word.
  void Push(int32_t id, uint32_t begin, uint32_t end) {
    const int32_t index = static_cast<int32_t>(symbols_.size());
    if (index > 0) symbols_.back().next = index;
    symbols_.push_back({id, begin, end, index - 1, -1});
  }

  bool empty() const { return symbols_.empty(); }

  // `lookup(left, right)` gives the std::optional<BpeMerge> of two adjacent symbols.
  template <typename Lookup>
  void Merge(const Lookup& lookup) {
    heap_.clear();
    for (int32_t right = 1; right < static_cast<int32_t>(symbols_.size()); ++right) {
      AddCandidate(right - 1, right, lookup);
    }
    std::make_heap(heap_.begin(), heap_.end(), Worse);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), Worse);
      const Candidate best = heap_.back();
      heap_.pop_back();
      if (IsStale(best)) continue;
      Join(best);
      const BpeSymbol& joined = symbols_[best.left];
      if (joined.previous >= 0 && AddCandidate(joined.previous, best.left, lookup)) {
        std::push_heap(heap_.begin(), heap_.end(), Worse);
      }
      if (joined.next >= 0 && AddCandidate(best.left, joined.next, lookup)) {
        std::push_heap(heap_.begin(), heap_.end(), Worse);
      }
    }
  }

  // Calls `use(symbol)` for each symbol of the word, left to right.
  template <typename Use>
  void ForEach(const Use& use) const {
    // A merge keeps the left symbol, so the first one is always alive.
    for (int32_t at = symbols_.empty() ? -1 : 0; at >= 0; at = symbols_[at].next) use(symbols_[at]);
  }

 private:
  struct Candidate {
    BpeMerge merge;
    int32_t left;
    int32_t right;
    uint32_t left_end;   // where both ended when the candidate was made: a symbol that has merged since
    uint32_t right_end;  // ends elsewhere
  };

  static bool Worse(const Candidate& a, const Candidate& b) {
    return a.merge.rank != b.merge.rank ? a.merge.rank > b.merge.rank : a.left > b.left;
  }

  template <typename Lookup>
  bool AddCandidate(int32_t left, int32_t right, const Lookup& lookup) {
    const std::optional<BpeMerge> merge = lookup(symbols_[left], symbols_[right]);
    if (!merge.has_value()) return false;
    heap_.push_back({*merge, left, right, symbols_[left].end, symbols_[right].end});
    return true;
  }

  bool IsStale(const Candidate& candidate) const {
    const BpeSymbol& left = symbols_[candidate.left];
    return left.next != candidate.right || left.end != candidate.left_end ||
           symbols_[candidate.right].end != candidate.right_end;
  }

  void Join(const Candidate& candidate) {
    BpeSymbol& left = symbols_[candidate.left];
    BpeSymbol& right = symbols_[candidate.right];
    left.id = candidate.merge.id;
    left.end = right.end;
    left.next = right.next;
    if (right.next >= 0) symbols_[right.next].previous = candidate.left;
    right.next = candidate.right;  // a neighbour of itself: every candidate that begins here is stale
  }

  std::vector<BpeSymbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace longspan
