// BPE with an explicit list of merges, over characters or over bytes (GPT-2, Radford et al. 2019).
//
// Threads: immutable; may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/tokenizer/bpe_merge.h"
#include "runtime/tokenizer/join_table.h"
#include "runtime/tokenizer/token_model.h"

namespace longspan {

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, written in the byte alphabet
  bool byte_fallback = false;  // characters without a token become <0xNN> tokens, where all of them exist
  bool ignore_merges = false;  // a piece that is a token needs no merges to become it
  bool fuse_unknown = false;   // a run of unknown characters is one unknown token
  std::optional<int32_t> unknown_id = {};  // without one, text that has no token is left out
};

class BpeModel : public TokenModel {
 public:
  using Vocabulary = absl::flat_hash_map<std::string_view, int32_t>;
  // Both halves of a merge, as the vocabulary writes them; earlier ones go first.
  using Merges = std::vector<std::pair<std::string_view, std::string_view>>;

  // The views are needed only during the call. A merge whose halves or whose outcome are no tokens is an
  // error that quotes it.
  static absl::StatusOr<std::unique_ptr<BpeModel>> Create(const Vocabulary& vocabulary, const Merges& merges,
                                                          const BpeOptions& options);

  void Encode(std::span<const std::string_view> pieces, std::vector<int32_t>* ids) const override;

 private:
  explicit BpeModel(const BpeOptions& options) : options_(options) { byte_ids_.fill(-1); }

  absl::Status AddMerges(const Vocabulary& vocabulary, const Merges& merges);
  void AddSymbols(const Vocabulary& vocabulary);
  void PushSymbols(std::string_view text, size_t begin, size_t end, BpeScratch* scratch) const;
  void EncodeWord(std::string_view text, size_t begin, size_t end, BpeScratch* scratch,
                  std::vector<int32_t>* ids) const;
  void FuseUnknown(size_t begin, std::vector<int32_t>* ids) const;

  BpeOptions options_;
  absl::flat_hash_map<uint64_t, BpeMerge> merges_;        // by the two ids
  std::array<int32_t, 256> byte_ids_;                     // -1 where there is none
  absl::flat_hash_map<uint32_t, int32_t> character_ids_;  // empty with byte_level
  absl::flat_hash_map<std::string, int32_t> whole_;       // every token's text; empty without ignore_merges
  // Empty when a text cannot be cut at characters: with byte_level, when a merge takes a byte token, or when
  // a character may be left out and its neighbours merge.
  std::optional<JoinTable> joins_;
};

// The byte of a "<0xNN>" token; empty for any other text.
std::optional<uint8_t> ParseByteToken(std::string_view text);

}  // namespace longspan
