// The tokens of a vocabulary as bytes, in a trie: what a grammar is matched against.
//
// Built once for a tokenizer. Threads: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

namespace longspan {

class Tokenizer;

class TokenVocabulary {
 public:
  // vocab_size: logits a position has; tokens beyond are left out. end_ids: tokens that end a text;
  // FailedPrecondition when there are none.
  static absl::StatusOr<std::shared_ptr<const TokenVocabulary>> Create(const Tokenizer& tokenizer,
                                                                       int64_t vocab_size,
                                                                       std::span<const int32_t> end_ids);

  // bytes: by id; empty for what is no text. specials: spelling to id. end_ids: at least one.
  TokenVocabulary(const std::vector<std::string>& bytes, absl::flat_hash_map<std::string, int32_t> specials,
                  std::vector<int32_t> end_ids);

  int64_t size() const { return static_cast<int64_t>(begins_.size()) - 1; }
  size_t mask_words() const { return (begins_.size() - 1 + 63) / 64; }
  std::string_view Bytes(int32_t id) const;
  std::span<const int32_t> end_ids() const { return end_ids_; }
  bool IsEnd(int32_t id) const;
  std::optional<int32_t> Special(std::string_view spelling) const;

  // The trie, its nodes numbered in preorder: the subtree of a node is [node, subtree_end(node)), its first
  // child is node + 1, the next one is subtree_end of that.
  using Node = uint32_t;
  static constexpr Node kRoot = 0;
  uint8_t byte(Node node) const { return nodes_[node].byte; }  // the last one of what it spells
  Node subtree_end(Node node) const { return nodes_[node].subtree_end; }
  std::span<const int32_t> tokens(Node node) const;  // those it spells
  std::optional<Node> Child(Node node, uint8_t byte) const;

  // A plain token is whole characters that stand for themselves in a JSON string, but for the separators
  // U+2028 and U+2029, which '.' of a pattern leaves out.
  bool all_plain(Node node) const { return nodes_[node].all_plain; }  // its subtree
  std::span<const int32_t> plain_tokens(Node node) const;             // of its subtree
  std::span<const int32_t> plain_tokens_of_length(size_t characters) const;
  size_t longest_plain() const { return by_length_begins_.size() - 2; }  // characters

 private:
  struct NodeEntry {
    uint32_t subtree_end = 0;
    uint32_t tokens_begin = 0;  // they end where those of the next node begin
    uint32_t plain_begin = 0;   // likewise, of the subtree
    uint8_t byte = 0;
    bool all_plain = true;
  };

  void AddNode(uint8_t byte);
  void SortPlainByLength();

  std::string text_;              // bytes of all tokens
  std::vector<uint32_t> begins_;  // [size + 1] into it
  absl::flat_hash_map<std::string, int32_t> specials_;
  std::vector<int32_t> end_ids_;
  std::vector<NodeEntry> nodes_;          // and one past the last
  std::vector<int32_t> tokens_;           // in the order of nodes
  std::vector<int32_t> plain_tokens_;     // likewise
  std::vector<int32_t> by_length_;        // plain tokens by characters
  std::vector<size_t> by_length_begins_;  // [longest + 2]
};

}  // namespace longspan
