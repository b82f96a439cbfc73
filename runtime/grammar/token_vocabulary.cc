#include "runtime/grammar/token_vocabulary.h"

#include <algorithm>

#include "absl/status/status.h"
#include "kernels/check.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

// Characters of a plain token; empty for one that is not.
std::optional<size_t> PlainCharacters(std::string_view bytes) {
  size_t characters = 0;
  for (size_t at = 0; at < bytes.size(); ++characters) {
    const Utf8Step step = DecodeUtf8(bytes, at);
    if (step.kind != Utf8Kind::kCharacter) return std::nullopt;
    if (step.code < 0x20 || step.code == '"' || step.code == '\\') return std::nullopt;
    if (step.code == 0x2028 || step.code == 0x2029) return std::nullopt;
    at += step.length;
  }
  return characters;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TokenVocabulary>> TokenVocabulary::Create(
    const Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> end_ids) {
  std::vector<int32_t> ends;
  for (const int32_t id : end_ids) {
    if (id >= 0 && id < vocab_size) ends.push_back(id);
  }
  if (ends.empty()) {
    return absl::FailedPreconditionError(
        "the model has no end-of-sequence token, so its output cannot be held to a grammar");
  }
  std::vector<std::string> bytes(static_cast<size_t>(vocab_size));
  absl::flat_hash_map<std::string, int32_t> specials;
  for (int32_t id = 0; id < std::min(vocab_size, tokenizer.vocab_size()); ++id) {
    if (tokenizer.IsSpecial(id)) {
      specials.try_emplace(tokenizer.Spelling(id), id);
    } else {
      bytes[static_cast<size_t>(id)] = tokenizer.TokenBytes(id);
    }
  }
  return std::make_shared<const TokenVocabulary>(bytes, std::move(specials), std::move(ends));
}

TokenVocabulary::TokenVocabulary(const std::vector<std::string>& bytes,
                                 absl::flat_hash_map<std::string, int32_t> specials,
                                 std::vector<int32_t> end_ids)
    : specials_(std::move(specials)), end_ids_(std::move(end_ids)) {
  LONGSPAN_CHECK(!end_ids_.empty());
  begins_.push_back(0);
  std::vector<int32_t> order;
  for (size_t id = 0; id < bytes.size(); ++id) {
    text_ += bytes[id];
    begins_.push_back(static_cast<uint32_t>(text_.size()));
    if (!bytes[id].empty() && !IsEnd(static_cast<int32_t>(id))) order.push_back(static_cast<int32_t>(id));
  }
  std::stable_sort(order.begin(), order.end(), [this](int32_t a, int32_t b) { return Bytes(a) < Bytes(b); });

  AddNode(0);
  std::vector<Node> path = {kRoot};  // of the token before: the node after each of its bytes
  const auto shorten = [&](size_t size) {
    for (; path.size() > size; path.pop_back()) {
      nodes_[path.back()].subtree_end = static_cast<Node>(nodes_.size());
    }
  };
  std::string_view before;
  for (const int32_t id : order) {
    const std::string_view token = Bytes(id);
    const auto [end, unused] = std::mismatch(token.begin(), token.end(), before.begin(), before.end());
    const auto shared = static_cast<size_t>(end - token.begin());
    shorten(shared + 1);
    for (const char c : token.substr(shared)) {
      path.push_back(static_cast<Node>(nodes_.size()));
      AddNode(static_cast<uint8_t>(c));
    }
    tokens_.push_back(id);
    if (PlainCharacters(token)) {
      plain_tokens_.push_back(id);
    } else {
      for (const Node node : path) nodes_[node].all_plain = false;
    }
    before = token;
  }
  shorten(0);
  AddNode(0);  // ends the last ranges
  SortPlainByLength();
}

void TokenVocabulary::AddNode(uint8_t byte) {
  nodes_.push_back({.subtree_end = 0,
                    .tokens_begin = static_cast<uint32_t>(tokens_.size()),
                    .plain_begin = static_cast<uint32_t>(plain_tokens_.size()),
                    .byte = byte,
                    .all_plain = true});
}

void TokenVocabulary::SortPlainByLength() {
  std::vector<std::vector<int32_t>> of_length(1);
  for (const int32_t id : plain_tokens_) {
    const size_t characters = *PlainCharacters(Bytes(id));
    if (characters >= of_length.size()) of_length.resize(characters + 1);
    of_length[characters].push_back(id);
  }
  by_length_begins_.push_back(0);
  for (const std::vector<int32_t>& ids : of_length) {
    by_length_.insert(by_length_.end(), ids.begin(), ids.end());
    by_length_begins_.push_back(by_length_.size());
  }
}

std::string_view TokenVocabulary::Bytes(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return std::string_view(text_).substr(begins_[i], begins_[i + 1] - begins_[i]);
}

bool TokenVocabulary::IsEnd(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

std::optional<int32_t> TokenVocabulary::Special(std::string_view spelling) const {
  const auto found = specials_.find(std::string(spelling));
  if (found == specials_.end()) return std::nullopt;
  return found->second;
}

std::span<const int32_t> TokenVocabulary::tokens(Node node) const {
  const uint32_t begin = nodes_[node].tokens_begin;
  return std::span(tokens_).subspan(begin, nodes_[node + 1].tokens_begin - begin);
}

std::optional<TokenVocabulary::Node> TokenVocabulary::Child(Node node, uint8_t byte) const {
  for (Node child = node + 1; child < subtree_end(node); child = subtree_end(child)) {
    if (nodes_[child].byte == byte) return child;
  }
  return std::nullopt;
}

std::span<const int32_t> TokenVocabulary::plain_tokens(Node node) const {
  const uint32_t begin = nodes_[node].plain_begin;
  return std::span(plain_tokens_).subspan(begin, nodes_[subtree_end(node)].plain_begin - begin);
}

std::span<const int32_t> TokenVocabulary::plain_tokens_of_length(size_t characters) const {
  const size_t begin = by_length_begins_[characters];
  return std::span(by_length_).subspan(begin, by_length_begins_[characters + 1] - begin);
}

}  // namespace longspan
