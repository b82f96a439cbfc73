#include "runtime/tokenizer/literal_matcher.h"

#include "kernels/check.h"

namespace longspan {

LiteralMatcher::LiteralMatcher() : nodes_(1) { root_next_.fill(0); }

int32_t LiteralMatcher::Child(const Node& node, char byte) const {
  for (const auto& [key, child] : node.children) {
    if (key == byte) return child;
  }
  return 0;
}

void LiteralMatcher::Add(std::string_view literal, int32_t value) {
  LONGSPAN_CHECK(!literal.empty() && value >= 0);
  int32_t at = 0;
  for (const char byte : literal) {
    int32_t& root_next = root_next_[static_cast<uint8_t>(byte)];
    int32_t child = at == 0 ? root_next : Child(nodes_[at], byte);
    if (child == 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.emplace_back();
      if (at == 0) {
        root_next = child;
      } else {
        nodes_[at].children.emplace_back(byte, child);
      }
    }
    at = child;
  }
  if (nodes_[at].value < 0) nodes_[at].value = value;
}

std::optional<LiteralMatcher::Match> LiteralMatcher::MatchAt(std::string_view text, size_t at) const {
  std::optional<Match> longest;
  int32_t node = root_next_[static_cast<uint8_t>(text[at])];
  for (size_t end = at + 1; node != 0; ++end) {
    if (nodes_[node].value >= 0) longest = Match{at, end, nodes_[node].value};
    if (end == text.size()) break;
    node = Child(nodes_[node], text[end]);
  }
  return longest;
}

std::optional<LiteralMatcher::Match> LiteralMatcher::Find(std::string_view text, size_t from) const {
  if (empty()) return std::nullopt;
  for (size_t at = from; at < text.size(); ++at) {
    if (root_next_[static_cast<uint8_t>(text[at])] == 0) continue;
    if (const std::optional<Match> match = MatchAt(text, at)) return match;
  }
  return std::nullopt;
}

}  // namespace longspan
