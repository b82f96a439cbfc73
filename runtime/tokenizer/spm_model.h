// SentencePiece's BPE (github.com/google/sentencepiece, model type "bpe").
//
// A text's characters are merged into the piece of the vocabulary with the highest score, again and again;
// characters that end up in no piece become bytes. User-defined pieces are cut out of the text first.
// SentencePiece writes a space as U+2581; here both are a plain space, in the vocabulary and in the text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/tokenizer/bpe_merge.h"
#include "runtime/tokenizer/join_table.h"
#include "runtime/tokenizer/literal_matcher.h"
#include "runtime/tokenizer/token_model.h"

namespace longspan {

// `text` with U+2581 written as a space.
std::string WithPlainSpaces(std::string_view text);

class SpmModel : public TokenModel {
 public:
  // Stands for what has neither a piece nor byte pieces; without one, such text is left out.
  explicit SpmModel(std::optional<int32_t> unknown_id) : unknown_id_(unknown_id) { byte_ids_.fill(-1); }

  void Reserve(size_t num_pieces) { pieces_.reserve(num_pieces); }
  // Views of texts WithPlainSpaces, which must outlive the model. The first of two equal pieces counts.
  void AddPiece(std::string_view text, int32_t id, double score);
  void AddUserDefined(std::string_view text, int32_t id, double score);
  void AddByte(uint8_t byte, int32_t id) { byte_ids_[byte] = id; }

  void Encode(std::span<const std::string_view> pieces, std::vector<int32_t>* ids) const override;

 private:
  void EncodeUncut(std::string_view text, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void EncodeWord(std::string_view text, size_t begin, size_t end, BpeScratch* scratch,
                  std::vector<int32_t>* ids) const;
  void EncodeWithoutPiece(std::string_view bytes, std::vector<int32_t>* ids) const;

  std::optional<int32_t> unknown_id_;
  absl::flat_hash_map<std::string_view, BpeMerge> pieces_;
  JoinTable joins_;
  LiteralMatcher user_defined_;
  std::array<int32_t, 256> byte_ids_;  // -1 where there is none
};

}  // namespace longspan
