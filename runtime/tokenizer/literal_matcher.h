// Finds which of many literal strings stands in a text.
//
// Threads: const methods may be called from any thread once all literals are added.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace longspan {

class LiteralMatcher {
 public:
  struct Match {
    size_t begin;
    size_t end;
    int32_t value;
  };

  LiteralMatcher();

  // `literal` must not be empty; of two equal ones the first counts.
  void Add(std::string_view literal, int32_t value);

  bool empty() const { return nodes_.size() == 1; }

  // The longest literal that begins exactly at `at`.
  std::optional<Match> MatchAt(std::string_view text, size_t at) const;
  // The leftmost literal at or after `from`; of several there, the longest.
  std::optional<Match> Find(std::string_view text, size_t from) const;

 private:
  struct Node {
    int32_t value = -1;
    std::vector<std::pair<char, int32_t>> children;
  };

  int32_t Child(const Node& node, char byte) const;

  std::vector<Node> nodes_;             // a trie; nodes_[0] is its root
  std::array<int32_t, 256> root_next_;  // the root's children by byte; 0 where there is none
};

}  // namespace longspan
